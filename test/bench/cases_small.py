"""Native speed: small files and metadata.  A daemon that is asked answers from
its database; most of the time it is not asked."""
import os
import random
import shutil

from bench import case
from cases_main import imported, many, mount_ls
from mounts import GNSFS, presigned
from work import (drop_caches, make_many, make_sizes, read_shuffled, sh,
                  stat_many, timed, together, unlink_many)

READERS = 4


# --- reading ---

def three_reads(folder, names, seed):
    """Files/s of a mount that has nothing of them yet: cold; from its cache,
    page cache dropped; hot."""
    os.sync()
    first = read_shuffled(folder, names, READERS, seed)
    drop_caches()
    again = read_shuffled(folder, names, READERS, seed + 1)
    return first, again, read_shuffled(folder, names, READERS, seed + 2)


def small_contenders(b, bucket, names, gnsfs_name, below):
    """The disk and gnsfs, each round on a host that has nothing."""
    seeds = random.Random(7)

    def disk():
        drop_caches()
        seed = seeds.random()
        return (None, read_shuffled(f"{b.disk}/{bucket}", names, READERS,
                                    seed),
                read_shuffled(f"{b.disk}/{bucket}", names, READERS, seed + 1))

    def gnsfs():
        d = b.m.gnsfs(gnsfs_name, fresh=True)
        got = three_reads(f"{d}/{below}", names, seeds.random())
        b.m.gnsfs_umount(d, drop=True)
        return got

    def peer(p):
        got = three_reads(p.mount(bucket), names, seeds.random())
        p.umount(drop=True)
        return got
    contenders = {"disk": disk, "gnsfs": gnsfs}
    for n, p in b.m.peers().items():
        contenders[n] = lambda p=p: peer(p)
    return contenders


def small_ratios(b, m, cold_least):
    b.best_peer(m[0], cold_least, what="cold: ")
    b.against(m[1], "disk", 0.7, what="cached: ")
    b.best_peer(m[1], 2, what="cached: ")
    b.against(m[2], "disk", what="hot: ")


TITLES = ["cold, in random order", "again, cached, page cache dropped", "hot"]


def curl_all(b, bucket, names, into, endpoint=None):
    """curl -Z, sixteen at a time; files/s."""
    out = f"{b.work}/curl-small"
    endpoint = endpoint or b.m.endpoint
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    order = list(names)
    random.Random(1).shuffle(order)
    with open(f"{out}/list", "w") as f:
        for i, n in enumerate(order):
            f.write(f'url = "{presigned(endpoint, f"/{bucket}/{n}")}"\n'
                    f'output = "{into or f"{out}/{i}"}"\n')
    os.sync()
    t = timed(lambda: sh("curl", "-fZ", "--no-progress-meter",
                         "--parallel-max", "16", "-K", f"{out}/list"))
    shutil.rmtree(out)
    return len(names) / t


@case("speed", "cold: gnsfs / curl -Z --parallel-max 16 at least 0.8, / best "
      "peer 1.6", "cached: / disk at least 0.7, / best peer 2",
      "hot: a figure")
def imports(b):
    """10,000 objects of 64 KiB, imported one a file, read in random order by
    4 processes: cold, cached, hot"""
    sizes = [1 << 16] * b.size(10000)
    names = make_sizes(f"{b.m.objects}/small", sizes)
    make_sizes(f"{b.disk}/small", sizes)
    d, _ = imported(b, "imports", "small")
    b.m.gnsfs_umount(d, drop=True)
    contenders = {
        "curl": lambda: (curl_all(b, "small", names, None), None, None),
        "curl, /dev/null": lambda: (
            curl_all(b, "small", names, "/dev/null"), None, None)}
    contenders.update(small_contenders(b, "small", names, "imports",
                                       "small"))
    m = b.run([f"imported objects of 64 KiB, {t}" for t in TITLES],
              "files/s", contenders)
    b.against(m[0], "curl", 0.8, what="cold: ")
    b.against(m[0], "curl, /dev/null", what="cold: ")
    small_ratios(b, m, 1.6)
    shutil.rmtree(f"{b.disk}/small")


@case("speed", "cold: gnsfs / curl -Z --parallel-max 16 at least 0.8, / best "
      "peer 1.6", name="link-small")
def link_small(b):
    """2,000 objects of 64 KiB, imported one a file, over a link of 1 Gbit/s
    and 30 ms, read in random order by 4 processes"""
    names = make_sizes(f"{b.m.objects}/far", [1 << 16] * b.size(2000))
    endpoint = b.m.link()
    seeds = random.Random(5)
    d, _ = imported(b, "far", "far", endpoint)

    def gnsfs():
        sh(GNSFS, "evict", f"{d}/far")
        os.sync()
        return read_shuffled(f"{d}/far", names, READERS, seeds.random())

    def peer(p):
        p.endpoint = endpoint
        got = read_shuffled(p.mount("far"), names, READERS, seeds.random())
        p.umount(drop=True)
        return got
    contenders = {"curl": lambda: curl_all(b, "far", names, None, endpoint),
                  "gnsfs": gnsfs}
    for n, p in b.m.peers().items():
        contenders[n] = lambda p=p: peer(p)
    m = b.run("imported objects of 64 KiB, cold, over a link", "files/s",
              contenders)
    b.against(m, "curl", 0.8)
    b.best_peer(m, 1.6)
    b.m.gnsfs_umount(d, drop=True)


@case("speed", "cold: gnsfs / best peer at least 5",
      "cached: / disk at least 0.7, / best peer 2", "hot: a figure")
def packs(b):
    """10,000 files of 4 to 60 KiB written by gnsfs, read on another host in
    random order by 4 processes: cold, cached, hot"""
    rand = random.Random(3)
    sizes = [rand.randrange(4 << 10, 60 << 10)
             for _ in range(b.size(10000))]
    d = b.m.gnsfs("packs")
    names = make_sizes(f"{d}/files", sizes)
    sh(GNSFS, "sync", d)
    b.m.gnsfs_umount(d, drop=True)
    make_sizes(f"{b.m.objects}/packed", sizes)
    make_sizes(f"{b.disk}/packed", sizes)
    m = b.run([f"packed files of 4 to 60 KiB, {t}" for t in TITLES],
              "files/s",
              small_contenders(b, "packed", names, "packs", "files"))
    small_ratios(b, m, 5)
    shutil.rmtree(f"{b.disk}/packed")


# --- making and removing ---

@case("speed", "create: gnsfs / best peer at least 5, / disk 0.35",
      "unlink: / best peer at least 2.5")
def files(b):
    """create + write + close of 10,000 files of 4 KiB; unlink"""
    n = b.size(10000)
    few = max(1, n // 10)       # peers: the rate is the same, sooner
    folders = {"disk": b.disk, "gnsfs": b.m.gnsfs("files")}
    peers = b.m.peers()
    for name, p in peers.items():
        folders[name] = p.mount("writes")
    count = [0]

    def one(name):
        count[0] += 1
        k = few if name in peers else n
        folder = f"{folders[name]}/f{count[0]}"
        made = k / timed(lambda: make_many(folder, k))
        return made, k / timed(lambda: unlink_many(folder, k))
    m = b.run([f"create + write + close of 4 KiB files ({n}; peers {few})",
               "unlink"], "files/s",
              {name: lambda name=name: one(name) for name in folders})
    b.best_peer(m[0], 5, what="create: ")
    b.against(m[0], "disk", 0.35, what="create: ")
    b.best_peer(m[1], 2.5, what="unlink: ")
    b.against(m[1], "disk", what="unlink: ")
    for p in peers.values():
        p.umount(drop=True)
    b.m.gnsfs_umount(folders["gnsfs"], drop=True)


@case("speed", "one process: gnsfs / disk at least 0.8", "16: at least 1.5")
def fsync(b):
    """create + write + fsync + close of 4 KiB files; one process, 16"""
    folders = {"disk": b.disk, "gnsfs": b.m.gnsfs("fsync")}
    count = [0]

    def one(name, processes, each):
        count[0] += 1
        top = f"{folders[name]}/s{count[0]}"
        os.makedirs(top)
        os.sync()
        jobs = [lambda i=i: make_many(f"{top}/{i}", each, sync=True)
                for i in range(processes)]
        return processes * each / together(jobs)
    for processes, n, least in ((1, 2000, 0.8), (16, 4000, 1.5)):
        each = max(1, b.size(n) // processes)
        title = f"{processes} process" + ("es" if processes > 1 else "")
        m = b.run(f"create + write + fsync + close of 4 KiB files, {title}",
                  "files/s",
                  {f: lambda f=f: one(f, processes, each) for f in folders})
        b.against(m, "disk", least, what=f"{title}: ")
    b.m.gnsfs_umount(folders["gnsfs"], drop=True)


# --- the tree ---

@case("speed", "gnsfs / disk at least 0.9 (its find: the case find)")
def stat(b):
    """stat of warm files"""
    n = b.size(1000)
    folders = {"disk": b.disk, "gnsfs": b.m.gnsfs("stat")}
    for f in folders.values():
        make_many(f"{f}/stat", n)

    def one(folder):
        paths = [f"{folder}/stat/{i:06d}" for i in range(n)]
        stat_many(paths, 1)
        return 200 * n / timed(lambda: stat_many(paths, 200))
    m = b.run("stat of warm files", "1/s",
              {name: lambda f=f: one(f) for name, f in folders.items()})
    b.against(m, "disk", 0.9)
    b.m.gnsfs_umount(folders["gnsfs"], drop=True)


@case("speed", "rename at most 10 ms", "rm -r at most 5 x the disk's time")
def tree(b):
    """rename of a directory of 100,000 files; rm -r of it"""
    n = b.size(100000)
    d = b.m.gnsfs("tree")
    folders = {"disk": b.disk, "gnsfs": d}

    def one(folder):
        make_many(f"{folder}/t", n, 512)
        if folder == d:
            sh(GNSFS, "sync", d)
        os.sync()
        moved = timed(lambda: os.rename(f"{folder}/t", f"{folder}/u"))
        return moved * 1000, timed(lambda: sh("rm", "-r", f"{folder}/u"))
    m = b.run([f"rename of a directory of {n} files, ms",
               "rm -r of it, s"], "",
              {name: lambda f=f: one(f) for name, f in folders.items()})
    b.ratio("rename, ms", m[0]["gnsfs"], most=10)
    b.against(m[1], "disk", most=5, what="rm -r: ")
    b.m.gnsfs_umount(d, drop=True)


@case("speed", "existing state directory at most 1 s", "new host at most 60 s",
      name="mount-huge")
def mount_huge(b):
    """mount of 10,000,000 inodes to the first ls: on an existing state
    directory; on a new host, where find goes through all of them then (what
    memory that takes: the last table)"""
    many(b)
    d = b.m.gnsfs("huge")
    for i in range(100):
        sh(GNSFS, "import", f"file://{b.m.objects}/many", f"{d}/m{i:02d}")
    sh(GNSFS, "sync", d)
    b.m.gnsfs_umount(d)
    m = b.run("mount to the first ls, existing state directory", "s",
              {"gnsfs": lambda: mount_ls(b, "huge", d)})
    b.ratio("existing: mount to ls, s", m["gnsfs"], most=1)
    m = b.run("mount to the first ls, new host", "s",
              {"gnsfs": lambda: mount_ls(b, "huge", d, fresh=True)})
    b.ratio("new host: mount to ls, s", m["gnsfs"], most=60)
    b.m.gnsfs("huge")
    b.ratio("find through all of them, s",
            timed(lambda: sh("find", d, "-size", "+1")))
    b.m.gnsfs_umount(d)
    shutil.rmtree(f"{b.work}/cache-huge")
