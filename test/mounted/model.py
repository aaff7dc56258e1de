"""
model: files against a model of them in memory, at random (model.sh).

	model.py MOUNT SEED STEPS [LOG]

A step opens, writes, truncates, syncs, renames, links, unlinks, evicts or
looks; now and then everything is compared.  With LOG the run is meant to be
killed: what is certain (fsynced, not touched since) is written to LOG before
each step that could change it, and `model.py MOUNT check LOG` compares.
Prints the seed and the last steps where something differs.
"""
import errno
import hashlib
import json
import os
import random
import subprocess
import sys

GNSFS = os.environ.get("GNSFS", "gnsfs")
NAMES = [f"f{i}" for i in range(14)] + [f"d/g{i}" for i in range(6)]
SIZES = [0, 1, 100, 4095, 4096, 20000, 65535, 65536, 65537, 100000,
         1 << 20, (1 << 20) + 1, 1500000, 2 << 20, 3 << 20]


class File:
    def __init__(self):
        self.data = bytearray()


class Model:
    def __init__(self, top, seed, log):
        self.top = top
        self.dev = os.stat(top).st_dev
        self.seed = seed
        self.rnd = random.Random(seed)
        self.names = {}         # name -> File; two names: a hard link
        self.open = []          # (fd, File, flags)
        self.trace = []
        self.sure = {}          # name -> digest, where it is certain
        self.log = log

    def path(self, name):
        return os.path.join(self.top, name)

    def note(self, *what):
        self.trace.append(" ".join(map(str, what)))

    def fail(self, *what):
        print(f"seed {self.seed}, step {len(self.trace)}:", *what)
        for line in self.trace[-60:]:
            print("   ", line)
        print("seed", self.seed, "-", *what)
        sys.exit(1)

    def bytes(self, n):
        return self.rnd.randbytes(n)

    def pick(self):
        return self.rnd.choice(list(self.names)) if self.names else None

    # --- what is certain after a kill -9 ---

    def unsure(self, f):
        """f is about to change: nothing is certain of its names."""
        gone = [n for n, g in self.names.items() if g is f and n in self.sure]
        for n in gone:
            del self.sure[n]
        self.write_log(gone)

    def unsure_name(self, name):
        if self.sure.pop(name, None) is not None:
            self.write_log([name])

    def certain(self, f):
        """f was fsynced: its bytes, and the names it has, are certain, if
        that was on the mount, and not below it when the daemon was killed and
        the mount taken off."""
        if os.stat(self.top).st_dev != self.dev:
            raise OSError(errno.ENOTCONN, "the mount is off")
        digest = hashlib.sha256(f.data).hexdigest()
        names = [n for n, g in self.names.items() if g is f]
        for n in names:
            self.sure[n] = digest
        self.write_log(names)

    def write_log(self, names):
        if self.log and names:
            for n in names:
                self.log.write(json.dumps([n, self.sure.get(n)]) + "\n")
            self.log.flush()

    # --- steps ---

    def put(self, f, off, data):
        if len(f.data) < off:
            f.data.extend(bytes(off - len(f.data)))
        f.data[off:off + len(data)] = data

    def step_create(self):
        name = self.rnd.choice(NAMES)
        f = self.names.get(name)
        n = self.rnd.choice(SIZES)
        data = self.bytes(n)
        self.note("create", name, n)
        if f is not None:
            self.unsure(f)
        else:
            f = File()
        fd = os.open(self.path(name), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        f.data = bytearray()
        self.names[name] = f
        for at in range(0, n, 300000):
            os.write(fd, data[at:at + 300000])
        f.data = bytearray(data)
        self.finish(fd, f)

    def finish(self, fd, f):
        if self.rnd.random() < 0.25:
            self.note("  fsync")
            os.fsync(fd)
            self.certain(f)
        if self.rnd.random() < 0.2 and len(self.open) < 8:
            self.note("  stays open")
            self.open.append((fd, f))
        else:
            os.close(fd)

    def step_replace(self):
        name = self.rnd.choice(NAMES)
        n = self.rnd.choice(SIZES)
        f = File()
        f.data = bytearray(self.bytes(n))
        self.note("replace", name, n)
        self.unsure_name(name)
        with open(self.path("tmp"), "wb") as out:
            out.write(f.data)
            if self.rnd.random() < 0.3:
                out.flush()
                os.fsync(out.fileno())
        os.rename(self.path("tmp"), self.path(name))
        self.names[name] = f

    def step_write(self):
        name = self.pick()
        if name is None:
            return
        f = self.names[name]
        size = len(f.data)
        fd = os.open(self.path(name), os.O_RDWR)
        self.unsure(f)
        for _ in range(self.rnd.randint(1, 4)):
            self.write_at(fd, f, size)
        self.finish(fd, f)

    def write_at(self, fd, f, size):
        off = self.rnd.choice([0, size, self.rnd.randint(0, size + 1),
                               size + self.rnd.randint(0, 200000)])
        off = min(off, 3 << 20)
        n = self.rnd.choice([1, 10, 4096, 5000, 70000, 300000])
        data = self.bytes(n)
        self.note("  pwrite", off, n)
        os.pwrite(fd, data, off)
        self.put(f, off, data)

    def step_append(self):
        name = self.pick()
        if name is None:
            return
        f = self.names[name]
        data = self.bytes(self.rnd.choice([1, 500, 40000, 200000]))
        if len(f.data) + len(data) > 4 << 20:
            return
        self.note("append", name, len(data))
        self.unsure(f)
        fd = os.open(self.path(name), os.O_WRONLY | os.O_APPEND)
        os.write(fd, data)
        f.data += data
        if self.rnd.random() < 0.25:
            self.note("  fsync")
            os.fsync(fd)
            self.certain(f)
        os.close(fd)            # pwrite would append, too

    def step_truncate(self):
        name = self.pick()
        if name is None:
            return
        f = self.names[name]
        size = self.rnd.choice(SIZES + [len(f.data) // 2, len(f.data) + 1])
        self.note("truncate", name, size)
        self.unsure(f)
        os.truncate(self.path(name), size)
        self.resize(f, size)
        if self.rnd.random() < 0.4:
            size = self.rnd.choice(SIZES)
            self.note("  and", size)
            os.truncate(self.path(name), size)
            self.resize(f, size)

    def resize(self, f, size):
        if size < len(f.data):
            del f.data[size:]
        else:
            f.data.extend(bytes(size - len(f.data)))

    def step_open_write(self):
        if not self.open:
            return
        fd, f = self.rnd.choice(self.open)
        try:
            self.unsure(f)
            self.write_at(fd, f, len(f.data))
            if self.rnd.random() < 0.3:
                size = self.rnd.choice(SIZES)
                self.note("  ftruncate", size)
                os.ftruncate(fd, size)
                self.resize(f, size)
            if self.rnd.random() < 0.3:
                self.note("  fsync")
                os.fsync(fd)
                self.certain(f)
        except OSError as e:
            self.fail("write to an open file:", e)

    def step_punch(self):
        name = self.pick()
        if name is None or len(self.names[name].data) < 2:
            return
        f = self.names[name]
        off = self.rnd.randrange(len(f.data))
        n = self.rnd.randint(1, len(f.data) - off)
        self.note("punch", name, off, n)
        self.unsure(f)
        if subprocess.run(["fallocate", "-p", "-o", str(off), "-l", str(n),
                           self.path(name)]).returncode == 0:
            f.data[off:off + n] = bytes(n)

    def step_copy_range(self):
        a, b = self.pick(), self.pick()
        if a is None or self.names[a] is self.names[b]:
            return
        f, g = self.names[a], self.names[b]
        off = self.rnd.randint(0, len(f.data))
        to = self.rnd.randint(0, len(g.data))
        n = self.rnd.choice([1, 5000, 400000])
        self.note("copy_range", a, off, b, to, n)
        self.unsure(g)
        fa = os.open(self.path(a), os.O_RDONLY)
        fb = os.open(self.path(b), os.O_WRONLY)
        done = 0
        while done < n:
            r = os.copy_file_range(fa, fb, n - done, off + done, to + done)
            if r == 0:
                break
            done += r
        os.close(fa)
        os.close(fb)
        self.put(g, to, f.data[off:off + done]) if done else None
        if done != min(n, len(f.data) - off):
            self.fail("copy_file_range gave", done)

    def step_mmap(self):
        import mmap
        name = self.pick()
        if name is None or len(self.names[name].data) == 0:
            return
        f = self.names[name]
        off = self.rnd.randrange(len(f.data))
        data = self.bytes(min(len(f.data) - off, 9000))
        self.note("mmap", name, off, len(data))
        self.unsure(f)
        fd = os.open(self.path(name), os.O_RDWR)
        mem = mmap.mmap(fd, len(f.data))
        os.close(fd)
        mem[off:off + len(data)] = data
        mem.close()
        f.data[off:off + len(data)] = data

    def step_close(self):
        if self.open:
            fd, f = self.open.pop(self.rnd.randrange(len(self.open)))
            self.note("close")
            os.close(fd)

    def step_unlink(self):
        name = self.pick()
        if name is None:
            return
        self.note("unlink", name)
        self.unsure_name(name)
        if self.rnd.random() < 0.5 and len(self.open) < 8:
            self.note("  while open")
            self.open.append((os.open(self.path(name), os.O_RDWR),
                              self.names[name]))
        os.unlink(self.path(name))
        del self.names[name]

    def step_rename(self):
        old, new = self.pick(), self.rnd.choice(NAMES)
        if old is None or old == new:
            return
        self.note("rename", old, new)
        same = self.names.get(new) is self.names[old]
        self.unsure_name(old)
        self.unsure_name(new)
        os.rename(self.path(old), self.path(new))
        if not same:            # two links of one file: POSIX does nothing
            self.names[new] = self.names.pop(old)

    def step_link(self):
        old, new = self.pick(), self.rnd.choice(NAMES)
        if old is None or new in self.names:
            return
        self.note("link", old, new)
        os.link(self.path(old), self.path(new))
        self.names[new] = self.names[old]

    def step_evict(self):
        name = self.pick()
        if name is None:
            return
        self.note("evict", name)
        subprocess.run([GNSFS, "evict", self.path(name)],
                       capture_output=True)

    def step_sync(self):
        self.note("sync")
        r = subprocess.run([GNSFS, "sync", self.top, "--timeout", "30s"],
                           capture_output=True, text=True)
        if r.returncode != 0:
            self.fail("sync:", r.stderr)
        for f in {id(f): f for f in self.names.values()}.values():
            self.certain(f)

    def step_drop(self):
        self.note("drop caches")
        with open("/proc/sys/vm/drop_caches", "w") as out:
            out.write("3")

    def compare(self, path, f, what, read):
        size = os.stat(path).st_size
        if size != len(f.data):
            self.fail(what, "is", size, "bytes by stat, not", len(f.data))
        self.same(read(), f, what)

    def same(self, have, f, what):
        if have == f.data:
            return
        n = min(len(have), len(f.data))
        at = next((i for i in range(n) if have[i] != f.data[i]), n)
        bad = sum(have[i] != f.data[i] for i in range(n))
        self.fail(what, "has", len(have), "bytes, not", len(f.data),
                  "- first difference at", at, "-", bad, "differ")

    def step_read(self):
        name = self.pick()
        if name is None or not self.names[name].data:
            return
        f = self.names[name]
        off = self.rnd.randrange(len(f.data))
        n = self.rnd.choice([1, 4096, 200000, 2 << 20])
        self.note("read", name, off, n)
        fd = os.open(self.path(name), os.O_RDONLY)
        part = File()
        part.data = f.data[off:off + n]
        self.same(os.pread(fd, n, off), part, f"{name} at {off}")
        os.close(fd)

    def step_look(self):
        name = self.pick()
        if name is not None:
            self.note("look", name)
            self.look(name)

    def look(self, name):
        def read():
            with open(self.path(name), "rb") as f:
                return f.read()
        self.compare(self.path(name), self.names[name], name, read)

    def all(self):
        self.note("all")
        have = sorted(e for d, _, es in os.walk(self.top)
                      for e in (os.path.relpath(os.path.join(d, x), self.top)
                                for x in es))
        if have != sorted(self.names):
            self.fail("names are", have, "not", sorted(self.names))
        for name in self.names:
            self.look(name)
        for fd, f in self.open:
            if os.fstat(fd).st_size != len(f.data):
                self.fail("an open file is", os.fstat(fd).st_size, "bytes")

    def run(self, steps):
        kinds = [("create", 10), ("replace", 5), ("write", 14),
                 ("append", 6), ("truncate", 8), ("open_write", 10),
                 ("punch", 2), ("copy_range", 3), ("mmap", 4), ("close", 8),
                 ("unlink", 4), ("rename", 4), ("link", 2), ("evict", 6),
                 ("sync", 2), ("drop", 2), ("read", 10), ("look", 10)]
        weights = [w for _, w in kinds]
        for i in range(steps):
            kind = self.rnd.choices(kinds, weights)[0][0]
            getattr(self, "step_" + kind)()
            if i % 100 == 99:
                self.all()
        for fd, f in self.open:
            os.close(fd)
        self.open = []
        self.all()

    def dump(self, path):
        with open(path, "w") as out:
            json.dump({n: [len(f.data), hashlib.sha256(f.data).hexdigest()]
                       for n, f in self.names.items()}, out)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def check(top, log):
    """After a kill -9: what was certain is there."""
    sure = {}
    with open(log) as f:
        for line in f:
            try:
                name, want = json.loads(line)
            except ValueError:
                break           # the last line was cut
            sure[name] = want
    bad = n = 0
    for name, want in sure.items():
        if want is None:
            continue
        n += 1
        path = os.path.join(top, name)
        have = digest(path) if os.path.exists(path) else "absent"
        if have != want:
            bad += 1
            print(name, "is", have, "not", want, "size",
                  os.path.exists(path) and os.stat(path).st_size)
    print(n, "certain,", bad, "wrong")
    sys.exit(bad > 0)


def verify(top, dump):
    """Another mount of the same: all names, sizes, bytes."""
    with open(dump) as f:
        want = json.load(f)
    bad = 0
    for name, (size, sha) in want.items():
        path = os.path.join(top, name)
        have = (os.stat(path).st_size, digest(path)) \
            if os.path.exists(path) else "absent"
        if have != (size, sha):
            bad += 1
            print(name, "is", have, "not", (size, sha))
    print(len(want), "files,", bad, "wrong")
    sys.exit(bad > 0)


if __name__ == "__main__":
    if sys.argv[2] == "check":
        check(sys.argv[1], sys.argv[3])
    if sys.argv[2] == "verify":
        verify(sys.argv[1], sys.argv[3])
    top, seed, steps, dump = sys.argv[1:5]
    log = open(sys.argv[5], "a") if len(sys.argv) > 5 else None
    model = Model(top, int(seed), log)
    os.makedirs(os.path.join(top, "d"), exist_ok=True)
    print("seed", seed, flush=True)
    try:
        model.run(int(steps))
    except OSError as e:
        if log is None:
            model.fail("an error:", e)
        sys.exit(2)             # it was killed
    model.dump(dump)
