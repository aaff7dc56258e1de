"""The contenders' mounts: gnsfs and its peers, on the server under test.

A peer is a line of PEERS.  s3fs and rclone are always there (bench.sh installs
them), the others where they are on PATH.  Each has its cache on the same disk
and long metadata timeouts, and stays in front, so that its process id is
known.  Most read the objects of the server as they lie there; one that keeps
files in a form of its own, or needs a server of its own kind, has them copied
in through its mount first.
"""
import datetime
import hashlib
import hmac
import os
import shlex
import shutil
import subprocess
import time
import urllib.parse

from work import sh

GNSFS = os.environ["GNSFS_BIN"]
TICK = os.sysconf("SC_CLK_TCK")

# name: (command, what comes first, copied in).  {place} is a folder that
# outlives the cache.
PEERS = {
    "s3fs": (
        "s3fs -f {bucket} {dir} -o url={endpoint} -o use_path_request_style "
        "-o passwd_file={passwd} -o use_cache={cache} "
        "-o stat_cache_expire=3600", None, False),
    "rclone": (
        "rclone mount :s3:{bucket} {dir} --vfs-cache-mode full "
        "--cache-dir {cache} --dir-cache-time 1h", None, False),
    "mount-s3": (
        "mount-s3 -f {bucket} {dir} --endpoint-url {endpoint} "
        "--force-path-style --region us-east-1 --cache {cache} "
        "--metadata-ttl 3600 --allow-delete", None, False),
    "geesefs": (
        "geesefs -f --endpoint {endpoint} --region us-east-1 "
        "--cache {cache} --stat-cache-ttl 1h {bucket} {dir}", None, False),
    "juicefs": (
        "juicefs mount sqlite3://{place}/juicefs.db {dir} "
        "--cache-dir {cache} --attr-cache 3600 --entry-cache 3600 "
        "--dir-entry-cache 3600",
        "juicefs format --storage s3 --bucket {endpoint}/juicefs "
        "sqlite3://{place}/juicefs.db bench", True),
    "gcsfuse": (
        "gcsfuse --foreground --anonymous-access --custom-endpoint "
        "{gcs_endpoint} --cache-dir {cache} --file-cache-max-size-mb -1 "
        "--metadata-cache-ttl-secs 3600 bench {dir}", None, True),
    "blobfuse2": (
        "blobfuse2 mount {dir} --foreground --container-name bench "
        "--tmp-path {cache}", None, True),
}
BUCKETS = ("gns", "lake", "many", "small", "packed", "writes", "juicefs")


def presigned(endpoint, path):
    """A URL that curl can fetch without signing (SigV4 in the query)."""
    key = os.environ["AWS_ACCESS_KEY_ID"]
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/us-east-1/s3/aws4_request"
    query = urllib.parse.urlencode(sorted({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/{scope}", "X-Amz-Date": stamp,
        "X-Amz-Expires": "86400", "X-Amz-SignedHeaders": "host"}.items()))
    host = endpoint.split("//")[1]
    request = f"GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = (f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n"
            + hashlib.sha256(request.encode()).hexdigest())
    k = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, "us-east-1", "s3", "aws4_request", text):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    return f"{endpoint}{path}?{query}&X-Amz-Signature={k.hex()}"


def umount(d):
    """Whoever still looks at it (a desktop, an indexer) gets ten seconds."""
    for _ in range(100):
        if subprocess.run(["umount", d], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"cannot unmount {d}")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_kib(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class Mounts:
    def __init__(self, work):
        self.work = work
        self.endpoint = os.environ["S3_ENDPOINT"]
        self.objects = os.environ["S3_DIR"] + "/objects"
        self.disk = f"{work}/disk"
        self.peak = {}                  # of daemons, KiB
        self.links = []
        self.made = set()               # namespaces
        os.makedirs(self.disk)
        for b in BUCKETS:
            os.makedirs(f"{self.objects}/{b}")

    def peers(self):
        """Those that are here, by name."""
        return {n: Peer(self, n) for n in PEERS if shutil.which(n)}

    # --- gnsfs ---
    def url(self, bucket, prefix="", endpoint=None):
        return (f"s3://{bucket}{prefix}?endpoint={endpoint or self.endpoint}"
                f"&region=us-east-1")

    def gnsfs(self, name, endpoint=None, fresh=False, home=None):
        """The namespace of that name, made where it is missing, mounted.
        fresh: as on a host that has nothing.  home: its URL, on a server of
        another kind."""
        d, cache = f"{self.work}/mnt-{name}", f"{self.work}/cache-{name}"
        home = home or self.url("gns", f"/{name}", endpoint)
        os.makedirs(d, exist_ok=True)
        if fresh:
            shutil.rmtree(cache, ignore_errors=True)
        if name not in self.made:
            sh(GNSFS, "format", home, "--name", name)
            self.made.add(name)
        sh(GNSFS, "mount", home, d, "-o",
           f"cache={cache},uring={os.environ.get('BENCH_URING', 'on')}")
        return d

    def gnsfs_pid(self, d):
        """Its daemon: gnsfs mount URL DIR ..."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    argv = f.read().split(b"\0")
            except OSError:
                continue
            if len(argv) > 3 and argv[1] == b"mount" and \
                    argv[3] == d.encode():
                return int(pid)
        raise RuntimeError(f"no daemon of {d}")

    def gnsfs_umount(self, d, drop=False):
        """drop: and what the host keeps of it.  On a machine that others
        work on, too, the daemon gets longer to end than umount waits."""
        pid = self.gnsfs_pid(d)
        self.seen(os.path.basename(d), pid)
        if subprocess.run([GNSFS, "umount", d]).returncode != 0:
            for _ in range(1000):
                if not os.path.exists(f"/proc/{pid}"):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"the daemon of {d} does not end")
        if drop:
            shutil.rmtree(d.replace("/mnt-", "/cache-"))

    def seen(self, name, pid):
        self.peak[name] = max(self.peak.get(name, 0), peak_kib(pid))

    # --- the link ---
    def link(self, rate=1e9, rtt=0.030):
        """The server at the other end of a link (link.py): its endpoint."""
        p = subprocess.Popen(
            ["python3", os.path.dirname(__file__) + "/link.py", "--to",
             self.endpoint.rpartition(":")[2], "--rate", str(rate),
             "--rtt", str(rtt)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.links.append(p)
        return f"http://127.0.0.1:{p.stdout.readline().strip()}"

    def done(self):
        for p in self.links:
            p.stdin.close()
            p.wait()


class Peer:
    def __init__(self, mounts, name):
        self.m, self.name = mounts, name
        self.command, self.first, self.copied = PEERS[name]
        self.dir = f"{mounts.work}/mnt-{name}"
        self.cache = f"{mounts.work}/cache-{name}"
        self.place = f"{mounts.work}/place-{name}"
        self.process = None
        self.endpoint = mounts.endpoint     # a link's, where that is wanted

    def env(self):
        return dict(
            os.environ, RCLONE_CONFIG="/dev/null",
            RCLONE_S3_PROVIDER="Other", RCLONE_S3_ENV_AUTH="true",
            RCLONE_S3_ENDPOINT=self.endpoint,
            ACCESS_KEY=os.environ["AWS_ACCESS_KEY_ID"],
            SECRET_KEY=os.environ["AWS_SECRET_ACCESS_KEY"])

    def start(self, command, bucket):
        passwd = f"{self.place}/passwd"
        with open(passwd, "w") as f:
            f.write(os.environ["AWS_ACCESS_KEY_ID"] + ":" +
                    os.environ["AWS_SECRET_ACCESS_KEY"])
        os.chmod(passwd, 0o600)
        words = shlex.split(command.format(
            bucket=bucket, dir=self.dir, cache=self.cache, passwd=passwd,
            place=self.place, endpoint=self.endpoint,
            gcs_endpoint=os.environ.get("GCS_ENDPOINT", "")))
        log = open(f"{self.place}/log", "ab")
        return subprocess.Popen(words, env=self.env(), stdout=log, stderr=log,
                                stdin=subprocess.DEVNULL)

    def mount(self, bucket, fresh=True):
        """The folder where the bucket's objects are.  fresh: with an empty
        cache."""
        if fresh:
            shutil.rmtree(self.cache, ignore_errors=True)
        for d in (self.dir, self.cache, self.place):
            os.makedirs(d, exist_ok=True)
        if self.first and not os.path.exists(f"{self.place}/ready"):
            if self.start(self.first, bucket).wait() != 0:
                raise RuntimeError(f"{self.name}: see {self.place}/log")
            open(f"{self.place}/ready", "w").close()
        self.process = self.start(self.command, bucket)
        for _ in range(150):
            if os.path.ismount(self.dir):
                break
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} did not mount")
            time.sleep(0.1)
        else:
            self.process.terminate()
            raise RuntimeError(f"{self.name} did not mount")
        if not self.copied:
            return self.dir
        folder = f"{self.dir}/{bucket}"
        if not os.path.isdir(folder):
            sh("cp", "-r", f"{self.m.objects}/{bucket}", folder)
            self.umount()
            return self.mount(bucket, fresh)
        return folder

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def umount(self, drop=False):
        self.m.seen(self.name, self.process.pid)
        umount(self.dir)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if drop:
            shutil.rmtree(self.cache, ignore_errors=True)
