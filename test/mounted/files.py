"""
files: what an open file promises, one function a promise (files.sh).

	files.py MOUNT every|small HOME
"""
import json
import os
import subprocess
import sys
import threading
import time

m = sys.argv[1]
LAG = 0.1


def landed():
    """Until what was closed before is in the log, for certain."""
    time.sleep(10 * LAG)


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def unlinked_small():
    """A small file that was unlinked while open keeps its bytes."""
    p, want = m + "/unlinked", b"x" * 5000
    put(p, want)
    fd = os.open(p, os.O_RDONLY)
    os.unlink(p)
    landed()
    have = os.read(fd, 10000)
    os.close(fd)
    return have == want


def truncated_by_reader():
    """O_TRUNC counts with O_RDONLY too, once the handle is closed."""
    p = m + "/truncated"
    put(p, b"y" * 3000000)
    landed()
    os.close(os.open(p, os.O_RDONLY | os.O_TRUNC))
    landed()
    return os.stat(p).st_size == 0 and get(p) == b""


def size_after_close():
    """Who looks while a file is settled sees its size, now and later."""
    d = m + "/sizes"
    os.mkdir(d)
    stop = threading.Event()

    def look():
        while not stop.is_set():
            for e in os.scandir(d):
                try:
                    os.stat(e.path)
                except FileNotFoundError:
                    pass

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for t in lookers:
        t.start()
    bad, end, n = 0, time.monotonic() + 4, 0
    while time.monotonic() < end:
        n += 1
        p, want = f"{d}/{n % 20}", os.urandom(n % 7000 + 1)
        put(p, want)
        time.sleep(0.003)
        bad += os.stat(p).st_size != len(want) or get(p) != want
    stop.set()
    for t in lookers:
        t.join()
    return n > 50 and bad == 0


def closed_again_at_once():
    """A file closed many times in a moment is settled, and waits for no one."""
    p = m + "/again"
    for i in range(300):
        put(p, b"%d" % i)
    landed()
    return get(p) == b"299"


def truncated_to_itself():
    """An op that changes no byte holds up no sync."""
    p = m + "/itself"
    put(p, b"z" * 2000000)
    landed()
    for _ in range(3):
        os.truncate(p, 2000000)
    r = subprocess.run([os.environ["GNSFS"], "sync", m, "--timeout", "10s"])
    return r.returncode == 0 and get(p) == b"z" * 2000000


def drop(what=3):
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write(str(what))


def fed():
    r = subprocess.run([os.environ["GNSFS"], "status", "--json", m],
                       check=True, stdout=subprocess.PIPE)
    return json.loads(r.stdout)["counters"]["opens_fed"]


def sync():
    subprocess.run([os.environ["GNSFS"], "sync", m, "--timeout", "20s"],
                   check=True)


def pread(path, n, off):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, n, off)
    finally:
        os.close(fd)


def met_again():
    """Small files that the kernel forgets and meets again are never older
    than when they were opened, and come with their bytes."""
    d, n, size, rounds = m + "/met", 24, 20000, 40
    os.mkdir(d)
    names = [f"{d}/{i}" for i in range(n)]
    done, old = [0] * n, []
    for p in names:
        put(p, b"\0" * size)
    landed()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            for i, p in enumerate(names):
                least = done[i]
                data = get(p)
                if len(data) != size or min(data) < least:
                    old.append((i, least, len(data), min(data, default=-1)))
                time.sleep(0.0005)

    def forget():
        while not stop.wait(0.1):
            drop(2)
    threads = [threading.Thread(target=t) for t in (read, read, forget)]
    for t in threads:
        t.start()
    for v in range(1, rounds + 1):
        for i in range(v % 3, n, 3):
            fd = os.open(names[i], os.O_WRONLY)
            os.pwrite(fd, bytes([v]) * size, 0)
            os.close(fd)
            done[i] = v
        time.sleep(0.1)
    stop.set()
    for t in threads:
        t.join()
    sync()
    drop()
    before = fed()
    for i, p in enumerate(names):
        if get(p) != bytes([done[i]]) * size:
            old.append((i, done[i]))
    if old or fed() != before + n:
        print(old[:10], before, fed())
    return not old and fed() == before + n


def no_room():
    """What was written over bytes that are not kept here is what is read."""
    subprocess.run([os.environ["GNSFS"], "pin", m + "/filler", "--wait"])
    p = m + "/large"
    want = bytearray(get(p))
    for i in range(4):
        at = (1 << 20) + 5000 * i + 100
        fd = os.open(p, os.O_RDWR)
        os.pwrite(fd, b"new %d" % i, at)
        os.close(fd)
        want[at:at + 5] = b"new %d" % i
        for _ in range(2):
            drop()
            if get(p) != want:
                return False
            if pread(p, 5 << 18, 3 << 18) != want[3 << 18:8 << 18]:
                return False
            sync()
    return True


def half_missing():
    """Where some bytes cannot be had it is an error, not a shorter file."""
    p = m + "/large"
    data = os.path.join(sys.argv[3], "data")
    before = {os.path.join(d, e) for d, _, es in os.walk(data) for e in es}
    fd = os.open(p, os.O_RDWR)
    os.pwrite(fd, b"patch" * 1000, 2100000)
    os.close(fd)
    sync()
    after = {os.path.join(d, e) for d, _, es in os.walk(data) for e in es}
    for e in after - before:
        os.unlink(e)
    subprocess.run([os.environ["GNSFS"], "evict", p])
    drop()
    for _ in range(2):
        drop()
        try:
            print("no error but", len(get(p)), "bytes")
            return False
        except OSError:
            pass
    return os.stat(p).st_size == 3 << 20


def prepare():
    """What the small cache's tests work on."""
    put(m + "/large", os.urandom(3 << 20))
    put(m + "/filler", os.urandom((15 << 20) + 500000))
    sync()
    return True


every = (truncated_to_itself, unlinked_small, truncated_by_reader,
         closed_again_at_once, size_after_close, met_again, prepare)
small_cache = (no_room, half_missing)
bad = False
for test in (small_cache if sys.argv[2] == "small" else every):
    good = test()
    print("good" if good else "BAD", test.__name__, "-", test.__doc__)
    if not good:
        bad = True
sys.exit(bad)
