"""The main job: read through the cache, fetch, write, make small files, find,
import, select, mount."""
import os
import shutil
import subprocess
import time

from bench import case
from mounts import GNSFS, presigned
from work import (MIB, drop_caches, find, make_many, read_all, sh, timed,
                  touch_memory, write_all)


def big_object(b):
    size = b.size(2048) * MIB
    path = f"{b.m.objects}/lake/big.bin"
    if not os.path.exists(path):
        write_all(path, size)
    return size


def many(b):
    """100,000 objects in 100 folders, straight into the server's."""
    n = b.size(100000)
    root = f"{b.m.objects}/many"
    if not os.listdir(root):
        for i in range(n):
            if i % 1000 == 0:
                folder = f"{root}/d{i // 1000:03d}"
                os.makedirs(folder)
            with open(f"{folder}/f{i:06d}.jpg", "wb") as f:
                f.write(b"x" * (500 + i % 1000))
    return n


def imported(b, name, bucket, endpoint=None, fresh=False):
    """The namespace with that bucket imported, mounted; the import."""
    d = b.m.gnsfs(name, endpoint, fresh)
    if not os.path.isdir(f"{d}/{bucket}"):
        sh(GNSFS, "import", b.m.url(bucket, "", endpoint), f"{d}/{bucket}")
    return d, f"{d}/{bucket}"


@case("main", "gnsfs / disk at least 0.7, / s3fs at least 1", "hot: / s3fs 1")
def read(b):
    """sequential read of a cached file of 2 GiB, page cache dropped; hot"""
    size = big_object(b)
    d, lake = imported(b, "read", "lake")
    sh(GNSFS, "pin", f"{lake}/big.bin", "--wait")
    shutil.copyfile(f"{b.m.objects}/lake/big.bin", f"{b.disk}/big.bin")
    peer = b.m.peers()["s3fs"]
    paths = {"disk": f"{b.disk}/big.bin", "gnsfs": f"{lake}/big.bin",
             "s3fs": f"{peer.mount('lake')}/big.bin"}
    read_all(paths["s3fs"])

    def speed(path, cold):
        if cold:
            drop_caches()
        return size / MIB / timed(lambda: read_all(path))
    m = b.run("sequential read of a cached file, page cache dropped", "MiB/s",
              {n: lambda p=p: speed(p, True) for n, p in paths.items()})
    b.against(m, "disk", 0.7)
    b.against(m, "s3fs", 1)
    for p in paths.values():
        read_all(p)
    m = b.run("the same, hot", "MiB/s",
              {n: lambda p=p: speed(p, False) for n, p in paths.items()})
    b.against(m, "s3fs", 1, what="hot: ")
    b.against(m, "disk", what="hot: ")
    peer.umount(drop=True)
    b.m.gnsfs_umount(d, drop=True)
    os.unlink(f"{b.disk}/big.bin")


def curl_ranges(urls, size, out):
    """Each object in four ranges, all at once, into files."""
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    part = size // 4
    ps = []
    for i, url in enumerate(urls):
        for k in range(4):
            end = size - 1 if k == 3 else (k + 1) * part - 1
            ps.append(subprocess.Popen(
                ["curl", "-sf", "-r", f"{k * part}-{end}",
                 "-o", f"{out}/{i}.{k}", url]))
    if any([p.wait() for p in ps]):
        raise RuntimeError("curl failed")


def curl_speed(b, names, size, endpoint=None):
    """MiB/s of objects of the bucket lake."""
    endpoint = endpoint or b.m.endpoint
    urls = [presigned(endpoint, f"/lake/{n}") for n in names]
    out = f"{b.disk}/curl"
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    t = timed(lambda: curl_ranges(urls, size, out))
    shutil.rmtree(out)
    return len(names) * size / MIB / t


def peer_speed(peer, bucket, size, read_it):
    """MiB/s of a fresh mount of a peer."""
    d = peer.mount(bucket)
    os.sync()
    t = timed(lambda: read_it(d))
    peer.umount(drop=True)
    return size / MIB / t


@case("main", "gnsfs / curl (four ranges, into files) at least 0.6",
      "ahead of s3fs and rclone")
def cold(b):
    """cold sequential read of one object of 2 GiB"""
    size = big_object(b)
    read_all(f"{b.m.objects}/lake/big.bin")
    d, lake = imported(b, "cold", "lake")

    def gnsfs():
        sh(GNSFS, "evict", f"{lake}/big.bin")
        os.sync()
        return size / MIB / timed(lambda: read_all(f"{lake}/big.bin"))
    contenders = {"curl": lambda: curl_speed(b, ["big.bin"], size),
                  "gnsfs": gnsfs}
    for n, p in b.m.peers().items():
        contenders[n] = lambda p=p: peer_speed(
            p, "lake", size, lambda d: read_all(f"{d}/big.bin"))
    m = b.run("cold sequential read of one object", "MiB/s", contenders,
              touch=2 * size)
    b.against(m, "curl", 0.6)
    b.against(m, "s3fs", 1)
    b.against(m, "rclone", 1)
    b.m.gnsfs_umount(d, drop=True)


def write_speed(path, size):
    if os.path.exists(path):
        os.unlink(path)
    os.sync()
    time.sleep(1)
    touch_memory(2 * size)
    return size / MIB / timed(lambda: write_all(path, size))


@case("main", "gnsfs / disk at least 0.8")
def write(b):
    """write 1 GiB and fsync"""
    size = b.size(1024) * MIB
    d = b.m.gnsfs("write")
    m = b.run("write and fsync", "MiB/s", {
        "disk": lambda: write_speed(f"{b.disk}/w.bin", size),
        "gnsfs": lambda: write_speed(f"{d}/w.bin", size)},
        setup=lambda: sh(GNSFS, "sync", d))
    b.against(m, "disk", 0.8)
    b.m.gnsfs_umount(d, drop=True)
    os.unlink(f"{b.disk}/w.bin")


@case("main", "gnsfs / s3fs at least 10")
def create(b):
    """create + write + close of 10,000 files of 4 KiB"""
    n = b.size(10000)
    few = max(1, n // 10)       # s3fs: the rate is the same, sooner
    d = b.m.gnsfs("create")
    peer = b.m.peers()["s3fs"]
    s = peer.mount("writes")
    count = [0]

    def rate(folder, k):
        count[0] += 1
        return k / timed(lambda: make_many(f"{folder}/c{count[0]}", k))
    m = b.run(f"create + write + close of 4 KiB files ({n}; s3fs {few})",
              "files/s", {"disk": lambda: rate(b.disk, n),
                          "gnsfs": lambda: rate(d, n),
                          "s3fs": lambda: rate(s, few)})
    b.against(m, "s3fs", 10)
    b.against(m, "disk")
    peer.umount(drop=True)
    b.m.gnsfs_umount(d, drop=True)


def find_both(b, d, first):
    """Seconds of a find on the disk and on the mount: first, after dropping
    what the kernel knows and mounting again, or a second time."""
    paths = {"disk": f"{b.disk}/many", "gnsfs": f"{d}/many"}

    def one(name):
        if first:
            if name == "gnsfs":
                sh(GNSFS, "umount", d)
                b.m.gnsfs("find")
            drop_caches()
        return timed(lambda: find(paths[name]))
    if not first:
        for p in paths.values():
            find(p)
    return b.run("find -type f -size +1 over 100,000 files, "
                 + ("first" if first else "second run"), "s",
                 {n: lambda n=n: one(n) for n in paths})


@case("main", "first at most 4 x the disk's time, second at most 3 x",
      "second at most 1.5 x, for native speed", name="find")
def find_many(b):
    """find -type f -size +1 over 100,000 imported files"""
    many(b)
    d, _ = imported(b, "find", "many")
    if not os.path.isdir(f"{b.disk}/many"):
        sh("cp", "-a", f"{b.m.objects}/many", f"{b.disk}/many")
    b.against(find_both(b, d, True), "disk", most=4, what="first: ")
    b.against(find_both(b, d, False), "disk", most=1.5, what="second: ")
    b.m.gnsfs_umount(d)
    shutil.rmtree(f"{b.disk}/many")


@case("main", "at most 1.5 x the time of rclone lsf -R --fast-list", name="import")
def import_many(b):
    """import of 100,000 objects"""
    many(b)
    d = b.m.gnsfs("import")
    env = b.m.peers()["rclone"].env()
    count = [0]

    def gnsfs():
        count[0] += 1
        return timed(lambda: sh(GNSFS, "import", b.m.url("many"),
                                f"{d}/many{count[0]}"))
    m = b.run("import of 100,000 objects", "s", {
        "rclone": lambda: timed(lambda: sh(
            "rclone", "lsf", "-R", "--fast-list", ":s3:many", env=env)),
        "gnsfs": gnsfs})
    b.against(m, "rclone", most=1.5)
    b.m.gnsfs_umount(d, drop=True)


def million(b):
    """A namespace of 1,000,000 files, mounted."""
    many(b)
    d = b.m.gnsfs("million")
    for i in range(10):
        if not os.path.isdir(f"{d}/m{i}"):
            sh(GNSFS, "import", b.m.url("many"), f"{d}/m{i}")
    return d


@case("main", "find under 1 s", "pin under 2 s")
def select(b):
    """gnsfs find over 1,000,000 files by every kind of selector; gnsfs pin of
    100,000"""
    d = million(b)
    sh(GNSFS, "tag", "add", f"{d}/m3/d000", "split=train")
    selectors = {
        "name": ["name:f012345.jpg"], "glob": ["/m*/d01?/**/*9.jpg"],
        "size": ["size>1490"], "mtime": ["mtime<1s"],
        "tag": ["tag:split=train"], "store": ["store:nothing"],
        "all of them": ["name:*77.jpg", "size>1400", "mtime>1s", "--and"]}
    found = {}

    def gnsfs_find(words):
        words = [d + w if w[0] == "/" else w for w in words]
        out = subprocess.run([GNSFS, "find", *words, "-n", d],
                             capture_output=True)
        found[words[0]] = out.stdout.count(b"\n")
    m = b.run("gnsfs find over 1,000,000 files", "s",
              {n: lambda w=w: timed(lambda: gnsfs_find(w))
               for n, w in selectors.items()})
    b.say("  found", " ".join(str(n) for n in found.values()))
    b.ratio("the slowest find, s", max(m.values()), most=1)

    def pin():
        t = timed(lambda: sh(GNSFS, "pin", f"{d}/m5", "--name", "b"))
        sh(GNSFS, "unpin", "--name", "b", "-n", d)
        return t
    m = b.run("gnsfs pin of 100,000 files, without --wait", "s",
              {"gnsfs": pin})
    b.ratio("pin, s", m["gnsfs"], most=2)
    b.m.gnsfs_umount(d)


def mount_ls(b, name, d, fresh=False):
    """Seconds from mount to the first ls.  fresh: on a host that has
    nothing."""
    if fresh:
        shutil.rmtree(f"{b.work}/cache-{name}")
    drop_caches()
    t = timed(lambda: (b.m.gnsfs(name), os.listdir(d)))
    b.m.gnsfs_umount(d)
    return t


@case("main", "under 2 s")
def mount(b):
    """mount of 1,000,000 inodes on an existing state directory, to the first
    ls"""
    d = million(b)
    b.m.gnsfs_umount(d)
    m = b.run("mount of 1,000,000 inodes on an existing state directory, to "
              "the first ls", "s",
              {"gnsfs": lambda: mount_ls(b, "million", d)})
    b.ratio("mount to ls, s", m["gnsfs"], most=2)
