"""crash.py: the load, the killer and the judge of crash.sh.

  crash.py load MODEL DIR SECONDS     works in DIR until it stops answering (or
                                      the time is over), then notes in MODEL
                                      what every file must hold
  crash.py check MODEL DIR            compares; settles what was under way
  crash.py kill PID LOG PHASE SECONDS waits for PHASE to begin (an upload, a
                                      commit, a snapshot, an eviction; "any": a
                                      random while), and kills -9
  crash.py acked MODEL                prints how many fsyncs were acknowledged

Each worker thread has a folder of its own and does one thing at a time.
What a call that returned has done must be there after a kill of the daemon,
fsynced or not; what was under way may have happened or not, or, for a write,
in part.  MODEL.acks has a line for every acknowledged fsync, with the sha256
of the file.  GNSFS_SEED makes it repeatable as far as kills allow.
"""
import errno
import hashlib
import os
import pickle
import random
import signal
import sys
import threading
import time

WORKERS = 3
BUDGET = 28 << 20               # bytes a worker keeps
PHASES = ("upload", "commit", "snapshot", "eviction")


class Model:
    """files: path -> bytearray.  doing: worker -> what is under way."""

    def __init__(self, seed):
        self.files, self.doing, self.acks, self.rounds = {}, {}, 0, 0
        self.synced = set()     # paths whose last change is fsynced
        self.seed = seed


def load_model(path):
    try:
        with open(path, "rb") as f:
            return pickle.load(f)
    except FileNotFoundError:
        return Model(int(os.environ.get("GNSFS_SEED", time.time_ns() % 10**9)))


def save_model(path, m):
    with open(path + ".new", "wb") as f:
        pickle.dump(m, f)
    os.rename(path + ".new", path)


class Wrong(Exception):
    pass


class Worker(threading.Thread):
    def __init__(self, m, top, n, acks, lock, until):
        super().__init__()
        self.m, self.n, self.acks, self.lock = m, n, acks, lock
        self.dir, self.top = f"w{n}", top
        self.r = random.Random(m.seed * 1000 + m.rounds * 10 + n)
        self.until, self.wrong = until, None
        self.mine = [p for p in m.files if p.startswith(self.dir + "/")]

    def at(self, path):
        return os.path.join(self.top, path)

    def run(self):
        try:
            os.makedirs(self.at(self.dir), exist_ok=True)
            while time.monotonic() < self.until:
                self.step()
        except Wrong as e:
            self.wrong = str(e)
        except OSError as e:
            if not self.is_down(e):
                self.wrong = f"{type(e).__name__}: {e}"

    def is_down(self, e):
        """The daemon is killed: ENOTCONN, ECONNABORTED, ECANCELED (of
        what a ring held); EIO of a page that was being read just then."""
        end = time.monotonic() + 2
        while e.errno == errno.EIO and time.monotonic() < end:
            try:
                os.statvfs(self.top)
                time.sleep(0.05)
            except OSError as down:
                e = down
        return e.errno in (errno.ENOTCONN, errno.ECONNABORTED,
                           errno.ECANCELED)

    def begin(self, *what):
        self.m.doing[self.n] = what

    def end(self):
        del self.m.doing[self.n]

    def write(self, fd, path, off, data):
        self.begin("write", path, off, len(data))
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], off + done)
        have = self.m.files[path]
        if len(have) < off:
            have.extend(bytes(off - len(have)))
        have[off:off + len(data)] = data
        self.m.synced.discard(path)
        self.end()

    def fsync(self, fd, path):
        os.fsync(fd)
        self.m.synced.add(path)
        line = "%s %d %s\n" % (path, len(self.m.files[path]),
                               hashlib.sha256(self.m.files[path]).hexdigest())
        with self.lock:
            self.m.acks += 1
            os.write(self.acks, line.encode())

    def open(self, path, flags):
        if flags & os.O_CREAT:
            self.begin("create", path)
        fd = os.open(self.at(path), flags, 0o644)
        if flags & os.O_CREAT:
            self.m.files[path] = bytearray()
            self.m.synced.discard(path)
            if path not in self.mine:
                self.mine.append(path)
            self.end()
        return fd

    def size(self):
        x = self.r.random()
        if x < 0.55:
            return self.r.randrange(0, 20000)
        if x < 0.75:
            return self.r.randrange(20000, 200000)
        return self.r.randrange(200000, 5 << 20)

    def fill(self, path, n, sync):
        fd = self.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR)
        try:
            off = 0
            while off < n:
                part = min(n - off, self.r.choice((4096, 100000, 1 << 20)))
                self.write(fd, path, off, self.r.randbytes(part))
                off += part
            if sync:
                self.fsync(fd, path)
        finally:
            os.close(fd)

    def some(self):
        return self.r.choice(self.mine)

    def step(self):
        total = sum(len(self.m.files[p]) for p in self.mine)
        if total > BUDGET:
            return self.unlink(self.some())
        x = self.r.random()
        if not self.mine or x < 0.30:
            name = f"{self.dir}/{self.r.randrange(10**9):09}"
            self.fill(name, self.size(), self.r.random() < 0.9)
        elif x < 0.45:
            self.replace()
        elif x < 0.60:
            self.append(self.some())
        elif x < 0.72:
            self.patch(self.some())
        elif x < 0.78:
            self.truncate(self.some())
        elif x < 0.82:
            self.unlink(self.some())
        elif x < 0.86:
            self.rename(self.some(),
                        f"{self.dir}/r{self.r.randrange(10**9):09}")
        else:
            self.read(self.some())

    def replace(self):
        """What editors and checkpoints do: new, fsync, rename over."""
        to = self.some()
        tmp = f"{self.dir}/tmp{self.r.randrange(10**9):09}"
        self.fill(tmp, self.size(), self.r.random() < 0.95)
        self.rename(tmp, to)

    def rename(self, a, b):
        self.begin("rename", a, b)
        os.rename(self.at(a), self.at(b))
        self.m.files[b] = self.m.files.pop(a)
        self.m.synced.discard(b)
        if a in self.m.synced:
            self.m.synced.discard(a)
            self.m.synced.add(b)
        self.mine.remove(a)
        if b not in self.mine:
            self.mine.append(b)
        self.end()

    def append(self, path):
        fd = os.open(self.at(path), os.O_WRONLY | os.O_APPEND)
        try:
            self.write(fd, path, len(self.m.files[path]),
                       self.r.randbytes(self.r.choice((10, 5000, 300000))))
            if self.r.random() < 0.8:
                self.fsync(fd, path)
        finally:
            os.close(fd)

    def patch(self, path):
        n = len(self.m.files[path])
        fd = os.open(self.at(path), os.O_RDWR)
        try:
            for _ in range(self.r.randrange(1, 4)):
                self.write(fd, path, self.r.randrange(n + 1),
                           self.r.randbytes(self.r.choice((1, 3000, 70000))))
            if self.r.random() < 0.8:
                self.fsync(fd, path)
        finally:
            os.close(fd)

    def truncate(self, path):
        n = self.r.randrange(len(self.m.files[path]) * 3 // 2 + 2)
        self.begin("truncate", path, n)
        os.truncate(self.at(path), n)
        have = self.m.files[path]
        self.m.synced.discard(path)
        if n < len(have):
            del have[n:]
        else:
            have.extend(bytes(n - len(have)))
        self.end()

    def unlink(self, path):
        self.begin("unlink", path)
        os.unlink(self.at(path))
        del self.m.files[path]
        self.m.synced.discard(path)
        self.mine.remove(path)
        self.end()

    def read(self, path):
        with open(self.at(path), "rb") as f:
            have = f.read()
        if have != self.m.files[path]:
            raise Wrong("under load: " + differs(path, self.m.files[path],
                                                 have))


def differs(path, want, have):
    n = min(len(want), len(have))
    first = next((i for i in range(0, n, 4096)
                  if want[i:i + 4096] != have[i:i + 4096]), n)
    first = next((i for i in range(first, min(n, first + 4096))
                  if want[i] != have[i]), first)
    bad = sum(want[i:i + 4096] != have[i:i + 4096] for i in range(0, n, 4096))
    zero = not any(have[first:first + 4096])
    return (f"{path}: {len(have)} bytes of {len(want)}, first wrong at "
            f"{first}, {bad} blocks wrong{', zeros' if zero else ''}")


def load(path, top, seconds):
    m = load_model(path)
    m.rounds += 1
    acks = os.open(path + ".acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lock, until = threading.Lock(), time.monotonic() + seconds
    workers = [Worker(m, top, n, acks, lock, until) for n in range(WORKERS)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    save_model(path, m)
    wrong = [w.wrong for w in workers if w.wrong]
    for w in wrong:
        print("wrong:", w)
    return 1 if wrong else 0


def content(top, path):
    try:
        with open(os.path.join(top, path), "rb") as f:
            return bytearray(f.read())
    except FileNotFoundError:
        return None


def settle_write(want, have, off, n):
    """have is want, but that [off, off + n) may be written in part."""
    if have is None or len(have) < len(want) or \
            len(have) > max(len(want), off + n):
        return False
    return want[:off] == have[:min(off, len(want))] and \
        want[off + n:] == have[off + n:len(want)]


def settle(m, top, what):
    """What was under way happened or not: the model becomes what is there.
    False: it is neither."""
    kind, path = what[0], what[1]
    have, want = content(top, path), m.files.get(path)
    if kind == "create":
        good = have == bytearray() or have == want
    elif kind == "write":
        good = settle_write(want, have, what[2], what[3])
    elif kind == "truncate":
        n = what[2]
        good = have == want or \
            have == want[:n] + bytes(max(0, n - len(want)))
    elif kind == "unlink":
        good = have is None or have == want
    else:
        to = content(top, what[2])
        if have is None:
            good = to == want
            m.files[what[2]] = m.files.pop(path)
            return good
        return have == want and to == m.files.get(what[2])
    if have is None:
        m.files.pop(path, None)
    else:
        m.files[path] = have
    m.synced.discard(path)
    return good


def check(path, top):
    m = load_model(path)
    bad = []
    for what in m.doing.values():
        if not settle(m, top, what):
            bad.append("under way: %s" % (what,))
    m.doing.clear()
    there = {os.path.relpath(os.path.join(d, f), top)
             for d, _, names in os.walk(top) for f in names}
    for p in sorted(there - set(m.files)):
        bad.append(f"{p}: nobody made it, or it was removed")
    for p, want in m.files.items():
        have = content(top, p)
        kind = "fsynced" if p in m.synced else "written"
        if have is None:
            bad.append(f"{kind} and gone: {p}")
        elif have != want:
            bad.append(f"{kind}: " + differs(p, want, have))
    save_model(path, m)
    for line in bad:
        print("wrong:", line)
    print(f"{len(m.files)} files, "
          f"{sum(map(len, m.files.values())) >> 20} MiB, "
          f"{len(m.synced)} of them fsynced, {len(bad)} wrong")
    return 1 if bad else 0


def under_way(log):
    """Of each phase: begun less ended, in what the log says."""
    n = dict.fromkeys(PHASES, 0)
    with open(log, errors="replace") as f:
        for line in f:
            for p in PHASES:
                n[p] += (f'"{p} begins"' in line) - (f'"{p} ends"' in line)
    return n


def kill(pid, log, phase, seconds):
    r = random.Random()
    until = time.monotonic() + seconds
    time.sleep(r.uniform(0.3, 1))
    if phase == "any":
        time.sleep(r.uniform(0, seconds - 1))
    else:
        with open(log, errors="replace") as f:
            f.seek(0, 2)
            while time.monotonic() < until:
                line = f.readline()
                if f'"{phase} begins"' in line:
                    time.sleep(r.choice((0, 0, r.uniform(0, 0.005))))
                    break
                if not line:
                    time.sleep(0.0005)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        print("it was dead already")
        return 1
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.01)
    print(" ".join(p for p, n in under_way(log).items() if n > 0) or "none")
    return 0


def main(a):
    if a[0] == "load":
        return load(a[1], a[2], float(a[3]))
    if a[0] == "check":
        return check(a[1], a[2])
    if a[0] == "kill":
        return kill(int(a[1]), a[2], a[3], float(a[4]))
    if a[0] == "acked":
        print(load_model(a[1]).acks)
        return 0
    return 2


sys.exit(main(sys.argv[1:]))
