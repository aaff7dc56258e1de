"""files: what an open file promises, one function a promise (files.sh)."""
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


for test in (truncated_to_itself, unlinked_small, truncated_by_reader, closed_again_at_once,
             size_after_close):
    good = test()
    print("good" if good else "BAD", test.__name__, "-", test.__doc__)
    if not good:
        sys.exitcode = 1
sys.exit(getattr(sys, "exitcode", 0))
