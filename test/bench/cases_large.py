"""Native speed: large files.  What is on the disk is as fast as the disk, what
is not comes at line rate."""
import os
import shutil

from bench import case
from cases_main import curl_speed, imported, peer_speed, write_speed
from mounts import GNSFS, cpu_seconds
from work import (MIB, drop_caches, fio, load_tensors, read_all, sh, timed,
                  together, touch_memory, write_all, write_tensors)

MODEL = "model.safetensors"
PARTS = [f"part{i}.bin" for i in range(8)]


def model(b):
    """An object of 4 GiB that is laid out as a model's weights are."""
    size = max(8, b.size(4096)) * MIB
    path = f"{b.m.objects}/lake/{MODEL}"
    if not os.path.exists(path):
        write_tensors(path, size)
    return size


def parts(b):
    """Eight objects of 512 MiB."""
    size = b.size(512) * MIB
    for n in PARTS:
        path = f"{b.m.objects}/lake/{n}"
        if not os.path.exists(path):
            write_all(path, size)
    return size


def warm_server(b, names):
    """What is measured is not the server's disk."""
    for n in names:
        read_all(f"{b.m.objects}/lake/{n}")


def pinned_model(b, name):
    """The model on the disk below, and cached by gnsfs; the mount, the
    paths."""
    size = model(b)
    d, lake = imported(b, name, "lake")
    sh(GNSFS, "pin", f"{lake}/{MODEL}", "--wait")
    shutil.copyfile(f"{b.m.objects}/lake/{MODEL}", f"{b.disk}/{MODEL}")
    return d, size, {"disk": f"{b.disk}/{MODEL}", "gnsfs": f"{lake}/{MODEL}"}


def end_pinned(b, d):
    os.unlink(f"{b.disk}/{MODEL}")
    b.m.gnsfs_umount(d, drop=True)


@case("speed", "gnsfs / disk at least 0.95 each", "hot: at least 0.85 each")
def cached(b):
    """a cached file of 4 GiB, page cache dropped, by fio: sequential 1 MiB,
    random 4 KiB at depth 1 and 32, both by O_DIRECT; hot"""
    d, _, paths = pinned_model(b, "cached")
    seconds = 4 if b.o.scale > 0.1 else 1
    rows = [("sequential 1 MiB", "MiB/s", dict(rw="read", bs="1m")),
            ("random 4 KiB, depth 1", "IOPS",
             dict(rw="randread", bs="4k", seconds=seconds)),
            ("random 4 KiB, depth 32", "IOPS",
             dict(rw="randread", bs="4k", seconds=seconds, depth=32)),
            ("O_DIRECT sequential 1 MiB", "MiB/s",
             dict(rw="read", bs="1m", direct=True)),
            ("O_DIRECT random 4 KiB, depth 1", "IOPS",
             dict(rw="randread", bs="4k", seconds=seconds, direct=True)),
            ("O_DIRECT random 4 KiB, depth 32", "IOPS",
             dict(rw="randread", bs="4k", seconds=seconds, depth=32,
                  direct=True))]

    def one(path, how, hot):
        if not hot:
            drop_caches()
        return fio(path, **how)
    for hot in (False, True):
        if hot:
            for p in paths.values():
                read_all(p)
        for title, unit, how in rows[:3] if hot else rows:
            title = ("hot: " if hot else "") + title
            m = b.run(f"cached file, {title}", unit,
                      {n: lambda p=p: one(p, how, hot)
                       for n, p in paths.items()})
            b.against(m, "disk", 0.85 if hot else 0.95, what=f"{title}: ")
    end_pinned(b, d)


@case("speed", "gnsfs / disk at least 0.95", "hot: at least 0.85")
def mmap(b):
    """a cached model of 4 GiB, mapped and touched tensor by tensor, page
    cache dropped; hot"""
    d, size, paths = pinned_model(b, "mmap")

    def one(path, hot):
        if not hot:
            drop_caches()
        return size / MIB / timed(lambda: load_tensors(path))
    for hot in (False, True):
        if hot:
            for p in paths.values():
                read_all(p)
        what = "hot: " if hot else ""
        m = b.run(f"{what}mapped load of a cached model", "MiB/s",
                  {n: lambda p=p: one(p, hot) for n, p in paths.items()})
        b.against(m, "disk", 0.85 if hot else 0.95, what=what)
    end_pinned(b, d)


@case("speed", "the daemon's CPU at most a tenth of the best peer's")
def cpu(b):
    """the daemon's CPU seconds per GiB read from the cache, page cache
    dropped"""
    d, size, paths = pinned_model(b, "cpu")
    peers = b.m.peers()
    pids = {"gnsfs": b.m.gnsfs_pid(d)}
    for n, p in peers.items():
        paths[n] = f"{p.mount('lake')}/{MODEL}"
        pids[n] = p.process.pid
        read_all(paths[n])

    def one(name):
        drop_caches()
        before = cpu_seconds(pids[name])
        read_all(paths[name])
        return (cpu_seconds(pids[name]) - before) / (size / 1024 / MIB)
    m = b.run("CPU seconds per GiB read from the cache", "s",
              {n: lambda n=n: one(n) for n in pids})
    b.best_peer(m, most=0.1)
    for p in peers.values():
        p.umount(drop=True)
    end_pinned(b, d)


def eight(fn, folder):
    """fn of eight files of a folder, each in a process; seconds."""
    return together([lambda n=n: fn(f"{folder}/{n}") for n in PARTS])


@case("speed", "gnsfs / disk at least 0.95 each", name="write-large")
def write_large(b):
    """write 4 GiB and fsync; 8 files of 512 MiB at once"""
    size = b.size(4096) * MIB
    part = b.size(512) * MIB
    d = b.m.gnsfs("wlarge")

    def one(folder):
        speed = write_speed(f"{folder}/w.bin", size)
        os.unlink(f"{folder}/w.bin")
        return speed

    def all_eight(folder):
        os.sync()
        touch_memory(16 * part)
        t = eight(lambda p: write_all(p, part), folder)
        for n in PARTS:
            os.unlink(f"{folder}/{n}")
        return 8 * part / MIB / t
    for fn, title in ((one, "one file of 4 GiB"),
                      (all_eight, "8 of 512 MiB at once")):
        m = b.run(f"write and fsync, {title}", "MiB/s",
                  {"disk": lambda: fn(b.disk), "gnsfs": lambda: fn(d)},
                  setup=lambda: sh(GNSFS, "sync", d))
        b.against(m, "disk", 0.95, what=f"{title}: ")
    b.m.gnsfs_umount(d, drop=True)


def cold_contenders(b, lake, size, part, endpoint=None):
    """One reader of the model and eight of the parts, from nothing, by curl
    and by gnsfs: two tables."""
    def gnsfs_one():
        sh(GNSFS, "evict", f"{lake}/{MODEL}")
        os.sync()
        return size / MIB / timed(lambda: read_all(f"{lake}/{MODEL}"))

    def gnsfs_eight():
        sh(GNSFS, "evict", *[f"{lake}/{n}" for n in PARTS])
        os.sync()
        return 8 * part / MIB / eight(read_all, lake)
    return ({"curl": lambda: curl_speed(b, [MODEL], size, endpoint),
             "gnsfs": gnsfs_one},
            {"curl": lambda: curl_speed(b, PARTS, part, endpoint),
             "gnsfs": gnsfs_eight})


@case("speed", "gnsfs / curl at least 0.9, or / best peer at least 1.5",
      name="cold-large")
def cold_large(b):
    """cold sequential read: one reader of an object of 4 GiB; 8 readers of 8
    objects of 512 MiB; curl takes each in four ranges into files"""
    size, part = model(b), parts(b)
    warm_server(b, [MODEL] + PARTS)
    d, lake = imported(b, "clarge", "lake")
    one, all_eight = cold_contenders(b, lake, size, part)
    for n, p in b.m.peers().items():
        one[n] = lambda p=p: peer_speed(
            p, "lake", size, lambda d: read_all(f"{d}/{MODEL}"))
        all_eight[n] = lambda p=p: peer_speed(
            p, "lake", 8 * part, lambda d: eight(read_all, d))
    for contenders, title in ((one, "one reader"),
                              (all_eight, "eight readers")):
        m = b.run(f"cold sequential read, {title}", "MiB/s", contenders,
                  touch=2 * size)
        b.against(m, "curl", 0.9, what=f"{title}: ")
        b.best_peer(m, 1.5, what=f"{title}: ")
    b.m.gnsfs_umount(d, drop=True)


@case("speed", "gnsfs / the link at least 0.95 each")
def link(b):
    """the same over a link of 1 Gbit/s and 30 ms"""
    size, part = model(b), parts(b)
    endpoint = b.m.link()
    rate = 1e9 / 8 / MIB
    d, lake = imported(b, "link", "lake", endpoint)
    tables = cold_contenders(b, lake, size, part, endpoint)
    for contenders, title in zip(tables, ("one reader", "eight readers")):
        m = b.run(f"cold read over a link of {rate:.1f} MiB/s and 30 ms, "
                  f"{title}", "MiB/s", contenders)
        b.ratio(f"{title}: gnsfs / link", m["gnsfs"] / rate, 0.95)
        b.ratio(f"{title}: curl / link", m["curl"] / rate)
    b.m.gnsfs_umount(d, drop=True)


@case("speed", "mapped / sequential at least 0.9", name="cold-mmap")
def cold_mmap(b):
    """cold mapped load of a model of 4 GiB, tensor by tensor, and in an order
    of the loader's own, against the cold sequential read"""
    size = model(b)
    warm_server(b, [MODEL])
    d, lake = imported(b, "cmmap", "lake")

    def one(fn):
        sh(GNSFS, "evict", f"{lake}/{MODEL}")
        os.sync()
        return size / MIB / timed(lambda: fn(f"{lake}/{MODEL}"))
    m = b.run("cold load of a model", "MiB/s",
              {"sequential": lambda: one(read_all),
               "mapped": lambda: one(load_tensors),
               "shuffled": lambda: one(lambda p: load_tensors(p, True))})
    b.ratio("mapped / sequential", m["mapped"] / m["sequential"], 0.9)
    b.ratio("shuffled / sequential", m["shuffled"] / m["sequential"])
    b.m.gnsfs_umount(d, drop=True)
