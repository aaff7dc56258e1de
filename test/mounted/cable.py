"""cable.py: what a program on a mount feels while a cable is cut.

  cable.py work DIR N           N files made, written, closed and renamed,
                                every tenth synced: prints total and longest
                                operation, ms
  cable.py tree DIR             all names, sizes and times: prints how many, a
                                hash of them, and the longest operation, ms
  cable.py read FILE...         each read whole in turn: prints ms, and `ok`
                                and a hash or an errno's name, a line each
  cable.py many FILE...         the same, all at once; one line: how many were
                                ok, how many not, the shortest and the longest
  cable.py states WORD STOP     until the file STOP is there, looks at the
                                processes with WORD among their arguments:
                                prints the longest that one was in state D, ms
  cable.py dies SECONDS FILE [direct]
                                reads FILE in a process of its own, sends it
                                SIGTERM after SECONDS: prints ms until it
                                ended.  direct: past the page cache, and with
                                a handler for the signal, which interrupts it
"""
import errno
import hashlib
import mmap
import os
import signal
import subprocess
import sys
import threading
import time


def ms(since):
    return round((time.monotonic() - since) * 1000)


class Clock:
    """The longest of several calls."""
    longest = 0

    def __call__(self, fn, *args):
        t = time.monotonic()
        try:
            return fn(*args)
        finally:
            self.longest = max(self.longest, ms(t))


def work(top, n):
    clock, begun = Clock(), time.monotonic()
    clock(os.mkdir, top)
    for i in range(n):
        name = f"{top}/f{i}"
        fd = clock(os.open, name + ".new", os.O_CREAT | os.O_WRONLY, 0o644)
        clock(os.write, fd, (name.encode() * 200)[:20 * i + 1])
        if i % 10 == 0:
            clock(os.fsync, fd)
        clock(os.close, fd)
        clock(os.rename, name + ".new", name)
    print(ms(begun), clock.longest)


def tree(top):
    clock, seen = Clock(), []
    stack = [top]
    while stack:
        d = stack.pop()
        for name in clock(os.listdir, d):
            path = os.path.join(d, name)
            st = clock(os.lstat, path)
            seen.append((path, st.st_mode, st.st_size, st.st_mtime_ns,
                         st.st_ino))
            if os.path.isdir(path):
                stack.append(path)
    seen.sort()
    print(len(seen), hashlib.sha256(repr(seen).encode()).hexdigest()[:16],
          clock.longest)


def one(path):
    t = time.monotonic()
    try:
        h = hashlib.sha256()
        with open(path, "rb", buffering=0) as f:
            while True:
                data = f.read(1 << 20)
                if not data:
                    break
                h.update(data)
        return ms(t), "ok " + h.hexdigest()
    except OSError as e:
        return ms(t), errno.errorcode[e.errno]


def many(paths):
    got, threads = [], []
    for path in paths:
        threads.append(threading.Thread(
            target=lambda p=path: got.append(one(p))))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ok = sum(x[1].startswith("ok") for x in got)
    print(ok, len(got) - ok, min(x[0] for x in got), max(x[0] for x in got))


def states(word, stop):
    since, longest, who = {}, 0, ""
    while not os.path.exists(stop):
        now = time.monotonic()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if word.encode() not in f.read():
                        continue
                for tid in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{tid}/stat") as f:
                        state = f.read().rsplit(")", 1)[1].split()[0]
                    if state != "D":
                        since.pop(tid, None)
                        continue
                    t = ms(since.setdefault(tid, now))
                    if t > longest:
                        longest = t
            except (OSError, IndexError):
                continue
        time.sleep(0.1)
    print(longest)


class Interrupted(Exception):
    pass


def direct(path):
    def handler(*_):
        raise Interrupted
    signal.signal(signal.SIGTERM, handler)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        os.readv(fd, [mmap.mmap(-1, 1 << 16)])
    except Interrupted:
        pass


def dies(seconds, path, how="read"):
    p = subprocess.Popen([sys.executable, __file__, how, path],
                         stdout=subprocess.DEVNULL)
    time.sleep(float(seconds))
    if p.poll() is not None:
        print("it did not wait:", p.returncode)
        return
    t = time.monotonic()
    p.send_signal(signal.SIGTERM)
    p.wait()
    print(ms(t))


verb, args = sys.argv[1], sys.argv[2:]
if verb == "work":
    work(args[0], int(args[1]))
elif verb == "tree":
    tree(args[0])
elif verb == "read":
    for arg in args:
        print(*one(arg))
elif verb == "many":
    many(args)
elif verb == "states":
    states(*args)
elif verb == "direct":
    direct(args[0])
elif verb == "dies":
    dies(*args)
