"""uring.py: the programs of uring.sh.  uring.py CASE DIR [N]"""
import os
import subprocess
import sys
import threading
import time

CORES = sorted(os.sched_getaffinity(0))


def on(core):
    os.sched_setaffinity(0, {CORES[core % len(CORES)]})


def content(i):
    return f"{i}\n".encode() * 500


def hog(core, go):
    """A process that has the core for itself for 10 ms, told by the pipe."""
    pid = os.fork()
    if pid == 0:
        on(core)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.read(go, 1)
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass
        os._exit(0)
    return pid


def publish(d, n):
    """A file is closed on one core, a link to it made on another, at once, and
    nobody is served on the first one meanwhile."""
    go, tell = os.pipe()
    for i in range(n):
        on(i)
        fd = os.open(f"{d}/f{i}", os.O_WRONLY | os.O_CREAT)
        os.write(fd, content(i))
        pid = hog(i, go)
        time.sleep(0.002)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.write(tell, b"x")
        os.close(fd)
        on(i + 1)
        os.symlink(f"f{i}", f"{d}/link{i}")
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.waitpid(pid, 0)


def follow(d, n):
    """Beside it: of what is listed, each link's file is whole."""
    seen = set()
    end = time.monotonic() + 60
    while len(seen) < n:
        if time.monotonic() > end:
            sys.exit(f"{len(seen)} of {n} links")
        for name in os.listdir(d):
            if not name.startswith("link") or name in seen:
                continue
            with open(f"{d}/{name}", "rb") as f:
                if f.read() != content(int(name[4:])):
                    sys.exit(f"{name} without its bytes")
            seen.add(name)


def shared(d):
    """A descriptor's close is no file's: its copy goes on."""
    fd = os.open(f"{d}/shared", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"first\n")
    subprocess.run(["true"], stdout=fd, check=True)     # FLUSH, no RELEASE
    begun = time.monotonic()
    os.close(os.open(f"{d}/shared.tmp", os.O_WRONLY | os.O_CREAT))
    os.rename(f"{d}/shared.tmp", f"{d}/shared.new")
    took = time.monotonic() - begun
    os.write(fd, b"second\n")
    os.close(fd)
    if took > 2:
        sys.exit(f"{took} s")


def readers(d, n):
    """So many at once; those that fail have failed."""
    def read(i):
        try:
            with open(f"{d}/{i}", "rb") as f:
                if f.read() != bytes(100000):
                    wrong.append(i)
        except OSError:
            wrong.append(i)

    wrong = []
    threads = [threading.Thread(target=read, args=(i + 1,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sys.exit(f"{len(wrong)} failed" if wrong else 0)


def cores(d):
    """Who asks is answered, whatever core it asks on."""
    for i in range(len(CORES)):
        on(i)
        for k in range(50):
            os.close(os.open(f"{d}/core{i}.{k}", os.O_WRONLY | os.O_CREAT))
            os.unlink(f"{d}/core{i}.{k}")


globals()[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
