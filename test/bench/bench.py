#!/usr/bin/env python3
"""gnsfs beside the disk below, curl, s3fs and rclone.

Each case is a list of contenders; every round runs each of them once, in
turn, so that a slow moment of the machine falls on all.  Printed are every
sample, the medians, and the ratios that are promised.  Nothing here passes
or fails: it measures.
"""
import argparse
import datetime
import hashlib
import hmac
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse

MIB = 1 << 20
GNSFS = os.environ["GNSFS_BIN"]


def sh(*args, **kw):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, **kw)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def timed(fn):
    start = time.monotonic()
    fn()
    return time.monotonic() - start


def read_all(path):
    """One reader, 1 MiB calls; bytes read."""
    fd = os.open(path, os.O_RDONLY)
    buf = bytearray(MIB)
    total = 0
    while True:
        n = os.readv(fd, [buf])
        if n == 0:
            break
        total += n
    os.close(fd)
    return total


def write_all(path, size):
    """A new file, 1 MiB calls of incompressible bytes, then fsync."""
    block = os.urandom(MIB)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    for _ in range(size // MIB):
        os.write(fd, block)
    os.fsync(fd)
    os.close(fd)


def touch_memory(size):
    """A virtual machine's memory is slow when it is touched for the first
    time, or again after the host took it back: 1 GiB of it costs more than
    writing it to the disk.  So that neither contender pays for the other,
    what is about to be filled is touched right before."""
    with mmap.mmap(-1, size) as m:
        for off in range(0, size, 4096):
            m[off] = 1


def create_many(folder, n):
    os.makedirs(folder)
    block = os.urandom(4096)
    for i in range(n):
        fd = os.open(f"{folder}/{i:06d}", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, block)
        os.close(fd)


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


class Bench:
    def __init__(self, opts):
        self.o = opts
        self.work = opts.work
        self.endpoint = os.environ["S3_ENDPOINT"]
        self.objects = os.environ["S3_DIR"] + "/objects"
        self.disk = f"{self.work}/disk"
        self.rss = {}
        os.makedirs(self.disk)
        for b in ("gns", "lake", "many", "s3fs"):
            os.makedirs(f"{self.objects}/{b}")

    def size(self, n):
        return max(1, int(n * self.o.scale))

    # --- mounts ---
    def url(self, bucket, prefix=""):
        return (f"s3://{bucket}{prefix}?endpoint={self.endpoint}"
                f"&region=us-east-1")

    def gnsfs_mount(self, prefix, name):
        d = f"{self.work}/mnt-{name}"
        os.makedirs(d, exist_ok=True)
        if not os.path.isdir(f"{self.objects}/gns{prefix}"):
            sh(GNSFS, "format", self.url("gns", prefix), "--name", name)
        sh(GNSFS, "mount", self.url("gns", prefix), d, "-o",
           f"cache={self.work}/cache-{name}")
        return d

    def gnsfs_umount(self, d):
        self.peak(d)
        sh(GNSFS, "umount", d)

    def peak(self, d):
        """Peak resident memory of the daemon, by its own process id."""
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    argv = f.read().split(b"\0")
                if len(argv) < 4 or argv[1] != b"mount" or \
                        argv[3] != d.encode():
                    continue
                with open(f"/proc/{pid}/status") as f:
                    for line in f:
                        if line.startswith("VmHWM"):
                            kib = int(line.split()[1])
                            self.rss[d] = max(self.rss.get(d, 0), kib)
            except OSError:
                pass

    def s3fs_mount(self, bucket, cache):
        d = f"{self.work}/mnt-s3fs"
        os.makedirs(d, exist_ok=True)
        os.makedirs(cache, exist_ok=True)
        passwd = f"{self.work}/passwd-s3fs"
        with open(passwd, "w") as f:
            f.write(os.environ["AWS_ACCESS_KEY_ID"] + ":" +
                    os.environ["AWS_SECRET_ACCESS_KEY"])
        os.chmod(passwd, 0o600)
        sh("s3fs", bucket, d, "-o", f"url={self.endpoint}", "-o",
           "use_path_request_style", "-o", f"passwd_file={passwd}", "-o",
           f"use_cache={cache}", "-o", "stat_cache_expire=3600")
        time.sleep(0.5)
        return d

    def rclone_env(self):
        return dict(os.environ, RCLONE_CONFIG="/dev/null",
                    RCLONE_S3_PROVIDER="Other",
                    RCLONE_S3_ENDPOINT=self.endpoint,
                    RCLONE_S3_ENV_AUTH="true")

    def rclone_mount(self, bucket, cache):
        d = f"{self.work}/mnt-rclone"
        os.makedirs(d, exist_ok=True)
        p = subprocess.Popen(
            ["rclone", "mount", f":s3:{bucket}", d, "--vfs-cache-mode",
             "full", "--cache-dir", cache, "--dir-cache-time", "1h"],
            env=self.rclone_env(), stderr=subprocess.DEVNULL)
        for _ in range(100):
            if os.path.ismount(d):
                return d, p
            time.sleep(0.1)
        p.terminate()
        raise RuntimeError("rclone did not mount")

    # --- reporting ---
    def run(self, title, unit, contenders, setup=None, touch=0):
        """contenders: name -> function giving a sample.  Interleaved;
        touch: bytes of memory that a sample is going to fill."""
        samples = {n: [] for n in contenders}
        for _ in range(self.o.rounds):
            if setup is not None:
                setup()
            for name, fn in contenders.items():
                if touch:
                    touch_memory(touch)
                samples[name].append(fn())
        print(f"\n## {title} ({unit}; {self.o.rounds} rounds, interleaved)")
        medians = {}
        for name, s in samples.items():
            medians[name] = statistics.median(s)
            print(f"  {name:22} median {medians[name]:10.2f}   "
                  + " ".join(f"{x:.2f}" for x in s))
        sys.stdout.flush()
        return medians

    def ratio(self, what, value, promise):
        print(f"  => {what}: {value:.2f}   (promised: {promise})")
        sys.stdout.flush()

    # --- the cases ---
    def big_object(self):
        size = self.size(2048) * MIB
        path = f"{self.objects}/lake/big.bin"
        if not os.path.exists(path):
            write_all(path, size)
        return size

    def case_read(self):
        size = self.big_object()
        d = self.gnsfs_mount("/read", "read")
        sh(GNSFS, "import", self.url("lake"), f"{d}/lake")
        sh(GNSFS, "pin", f"{d}/lake/big.bin", "--wait")
        shutil.copyfile(f"{self.objects}/lake/big.bin",
                        f"{self.disk}/big.bin")
        s = self.s3fs_mount("lake", f"{self.work}/s3fs-cache")
        read_all(f"{s}/big.bin")
        paths = {"disk": f"{self.disk}/big.bin",
                 "gnsfs": f"{d}/lake/big.bin", "s3fs": f"{s}/big.bin"}

        def speed(path, cold):
            if cold:
                drop_caches()
            return size / MIB / timed(lambda: read_all(path))
        m = self.run("sequential read of a cached file, page cache dropped",
                     "MiB/s", {n: (lambda p=p: speed(p, True))
                               for n, p in paths.items()})
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "0.7")
        self.ratio("gnsfs / s3fs", m["gnsfs"] / m["s3fs"], "1")
        for p in paths.values():
            read_all(p)
        m = self.run("the same, hot", "MiB/s",
                     {n: (lambda p=p: speed(p, False))
                      for n, p in paths.items()})
        self.ratio("gnsfs / s3fs", m["gnsfs"] / m["s3fs"], "1")
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "a figure")
        sh("umount", s)
        self.gnsfs_umount(d)
        os.unlink(f"{self.disk}/big.bin")

    def curl_four(self, size):
        out = f"{self.disk}/curl"
        os.makedirs(out, exist_ok=True)
        part = size // 4
        url = presigned(self.endpoint, "/lake/big.bin")
        ps = []
        for i in range(4):
            end = size - 1 if i == 3 else (i + 1) * part - 1
            ps.append(subprocess.Popen(
                ["curl", "-sf", "-r", f"{i * part}-{end}",
                 "-o", f"{out}/{i}", url]))
        for p in ps:
            if p.wait() != 0:
                raise RuntimeError("curl failed")

    def case_cold(self):
        size = self.big_object()
        read_all(f"{self.objects}/lake/big.bin")
        d = self.gnsfs_mount("/cold", "cold")
        sh(GNSFS, "import", self.url("lake"), f"{d}/lake")
        state = {}

        def gnsfs():
            sh(GNSFS, "evict", f"{d}/lake/big.bin")
            os.sync()
            return size / MIB / timed(lambda: read_all(f"{d}/lake/big.bin"))

        def curl():
            shutil.rmtree(f"{self.disk}/curl", ignore_errors=True)
            os.sync()
            return size / MIB / timed(lambda: self.curl_four(size))

        def s3fs():
            cache = f"{self.work}/s3fs-cold"
            shutil.rmtree(cache, ignore_errors=True)
            s = self.s3fs_mount("lake", cache)
            os.sync()
            t = timed(lambda: read_all(f"{s}/big.bin"))
            sh("umount", s)
            shutil.rmtree(cache, ignore_errors=True)
            return size / MIB / t

        def rclone():
            cache = f"{self.work}/rclone-cold"
            shutil.rmtree(cache, ignore_errors=True)
            r, p = self.rclone_mount("lake", cache)
            os.sync()
            t = timed(lambda: read_all(f"{r}/big.bin"))
            sh("umount", r)
            p.wait()
            shutil.rmtree(cache, ignore_errors=True)
            return size / MIB / t
        m = self.run("cold sequential read of one object", "MiB/s",
                     {"curl, four ranges": curl, "gnsfs": gnsfs,
                      "s3fs": s3fs, "rclone": rclone}, touch=2 * size)
        self.ratio("gnsfs / curl", m["gnsfs"] / m["curl, four ranges"],
                   "0.6")
        self.ratio("gnsfs / s3fs", m["gnsfs"] / m["s3fs"], "over 1")
        self.ratio("gnsfs / rclone", m["gnsfs"] / m["rclone"], "over 1")
        self.gnsfs_umount(d)

    def case_write(self):
        size = self.size(1024) * MIB
        d = self.gnsfs_mount("/write", "write")

        def speed(path):
            if os.path.exists(path):
                os.unlink(path)
            os.sync()
            time.sleep(1)
            touch_memory(2 * size)
            return size / MIB / timed(lambda: write_all(path, size))
        m = self.run("write and fsync", "MiB/s", {
            "disk": lambda: speed(f"{self.disk}/w.bin"),
            "gnsfs": lambda: speed(f"{d}/w.bin")},
            setup=lambda: sh(GNSFS, "sync", d))
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "0.8")
        self.gnsfs_umount(d)
        os.unlink(f"{self.disk}/w.bin")

    def case_create(self):
        n = self.size(10000)
        few = max(1, n // 10)       # s3fs: the rate is the same, sooner
        d = self.gnsfs_mount("/create", "create")
        s = self.s3fs_mount("s3fs", f"{self.work}/s3fs-create")
        count = [0]

        def rate(folder, k):
            count[0] += 1
            t = timed(lambda: create_many(f"{folder}/c{count[0]}", k))
            return k / t
        m = self.run(f"create + write + close of 4 KiB files ({n}; s3fs "
                     f"{few})", "files/s", {
                         "disk": lambda: rate(self.disk, n),
                         "gnsfs": lambda: rate(d, n),
                         "s3fs": lambda: rate(s, few)})
        self.ratio("gnsfs / s3fs", m["gnsfs"] / m["s3fs"], "10")
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "a figure")
        sh("umount", s)
        self.gnsfs_umount(d)

    def many(self):
        """100,000 objects in 100 folders, straight into the server's."""
        n = self.size(100000)
        root = f"{self.objects}/many"
        if not os.listdir(root):
            for i in range(n):
                if i % 1000 == 0:
                    folder = f"{root}/d{i // 1000:03d}"
                    os.makedirs(folder)
                with open(f"{folder}/f{i:06d}.jpg", "wb") as f:
                    f.write(b"x" * (500 + i % 1000))
        return n

    def case_find(self):
        self.many()
        d = self.gnsfs_mount("/find", "find")
        sh(GNSFS, "import", self.url("many"), f"{d}/many")
        if not os.path.isdir(f"{self.disk}/many"):
            sh("cp", "-a", f"{self.objects}/many", f"{self.disk}/many")

        def find(path):
            return timed(lambda: sh("find", path, "-type", "f", "-size",
                                    "+1"))

        def first(path, remount):
            if remount:
                sh(GNSFS, "umount", d)
                self.gnsfs_mount("/find", "find")
            drop_caches()
            return find(path)
        g, k = f"{d}/many", f"{self.disk}/many"
        m = self.run("find -type f -size +1 over 100,000 files, first", "s",
                     {"disk": lambda: first(k, False),
                      "gnsfs": lambda: first(g, True)})
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "at most 4")
        find(k)
        find(g)
        m = self.run("the same, second run", "s",
                     {"disk": lambda: find(k), "gnsfs": lambda: find(g)})
        self.ratio("gnsfs / disk", m["gnsfs"] / m["disk"], "at most 3")
        self.gnsfs_umount(d)

    def case_import(self):
        self.many()
        d = self.gnsfs_mount("/import", "import")
        count = [0]

        def gnsfs():
            count[0] += 1
            return timed(lambda: sh(GNSFS, "import", self.url("many"),
                                    f"{d}/many{count[0]}"))

        def rclone():
            return timed(lambda: sh("rclone", "lsf", "-R", "--fast-list",
                                    ":s3:many", env=self.rclone_env()))
        m = self.run("import of 100,000 objects", "s",
                     {"rclone lsf": rclone, "gnsfs": gnsfs})
        self.ratio("gnsfs / rclone", m["gnsfs"] / m["rclone lsf"],
                   "at most 1.5")
        self.gnsfs_umount(d)

    def million(self):
        """A namespace of 1,000,000 files, mounted."""
        self.many()
        d = self.gnsfs_mount("/million", "million")
        for i in range(10):
            if not os.path.isdir(f"{d}/m{i}"):
                sh(GNSFS, "import", self.url("many"), f"{d}/m{i}")
        return d

    def case_select(self):
        d = self.million()
        sh(GNSFS, "tag", "add", f"{d}/m3/d007", "split=train")
        selectors = {
            "name": ["name:f012345.jpg"], "glob": ["/m*/d01?/**/*9.jpg"],
            "size": ["size>1490"], "mtime": ["mtime<1s"],
            "tag": ["tag:split=train"], "store": ["store:nothing"],
            "all of them": ["name:*77.jpg", "size>1400", "mtime>1s",
                            "--and"]}
        found = {}

        def find(words):
            words = [d + w if w[0] == "/" else w for w in words]
            out = subprocess.run([GNSFS, "find", *words, "-n", d],
                                 capture_output=True)
            found[words[0]] = out.stdout.count(b"\n")

        self.run("gnsfs find over 1,000,000 files", "s",
                 {n: lambda w=w: timed(lambda: find(w))
                  for n, w in selectors.items()})
        print("  => promised: under 1 s; found",
              " ".join(str(n) for n in found.values()))

        def pin():
            t = timed(lambda: sh(GNSFS, "pin", f"{d}/m5", "--name", "b"))
            sh(GNSFS, "unpin", "--name", "b", "-n", d)
            return t
        self.run("gnsfs pin of 100,000 files, without --wait", "s",
                 {"gnsfs": pin})
        print("  => promised: under 2 s")
        self.gnsfs_umount(d)

    def case_mount(self):
        d = self.million()
        self.gnsfs_umount(d)

        def mount_ls():
            drop_caches()
            t = timed(lambda: (self.gnsfs_mount("/million", "million"),
                               os.listdir(d)))
            sh(GNSFS, "umount", d)
            return t
        self.run("mount of 1,000,000 inodes on an existing state directory, "
                 "to the first ls", "s", {"gnsfs": mount_ls})
        print("  => promised: under 2 s")

    def main(self):
        fs = sh("stat", "-f", "-c", "%T", self.work, text=True).stdout
        print(f"# filesystem below: {fs.strip()}; "
              f"{os.cpu_count()} cores; kernel {os.uname().release}; "
              f"scale {self.o.scale}")
        print("# gnsfs", sh(GNSFS, "--version", text=True).stdout.strip())
        only = self.o.only.split(",") if self.o.only else None
        for case in ("read", "cold", "write", "create", "find", "import",
                     "select", "mount"):
            if only is None or case in only:
                getattr(self, f"case_{case}")()
        print("\n## peak resident memory of the daemons (KiB)")
        for d, kib in self.rss.items():
            print(f"  {os.path.basename(d):22} {kib}")
        if self.rss:
            print(f"  => highest: {max(self.rss.values()) / 1024:.0f} MiB"
                  "   (promised: under 200)")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="")
    p.add_argument("--scale", type=float, default=1.0)
    Bench(p.parse_args()).main()


if __name__ == "__main__":
    main()
