# full.py: what full.sh asks of files.
#
#	put MODEL DIR NAME COUNT SIZE [nosync]	writes DIR/NAME0 .., with fsync;
#					those that were acknowledged go into
#					MODEL
#	check MODEL DIR			all of MODEL is there, byte by byte
#	gone MODEL NAME...		is not to be there any more
#	fill FILE			takes what the disk has
#	map FILE SEED SIZE		reads it through a mapping
#	many DIR N			N files open at once, 16 threads
#	short DIR FIRST SIZE PID GNSFS	files of DIR/lake are opened, and new ones
#					made in DIR/d, with one descriptor to be
#					had, or none
#	hold MODEL DIR NAME COUNT SIZE READY GO	writes DIR/NAME0 .., makes READY,
#					closes them all when GO is there
#	fails CMD...			fails with ENOSPC; prints the milliseconds
#	weave FILE COPY SIZE		writes SIZE bytes, and now and then changes
#					what it wrote before and reads all back,
#					by one descriptor; COPY is how FILE is
#					to be
#	halt FILE SIZE KEPT READY	writes SIZE bytes, fsync at KEPT, then makes
#					READY and goes on writing
#	starts FILE SIZE KEPT		begins with KEPT bytes of halt's, and is
#					right or empty beyond
#
# Bytes of a file are those of its seed: the sum of its name's characters and
# its size.  `put` ends with status 3 at an ENOSPC and prints how long the last
# call took.
import concurrent.futures
import errno
import mmap
import os
import random
import resource
import subprocess
import sys
import time


def content(name, size):
    seed = size + sum((i + 1) * ord(c) for i, c in enumerate(name))
    return random.Random(seed).randbytes(size)


def put(model, top, prefix, count, size, nosync=None):
    log = open(model, "a")
    for i in range(int(count)):
        name = f"{prefix}{i}"
        data = content(name, int(size))
        begun = time.monotonic()
        try:
            fd = os.open(f"{top}/{name}", os.O_CREAT | os.O_RDWR, 0o644)
            at = 0
            while at < len(data):
                begun = time.monotonic()
                at += os.write(fd, data[at:at + (1 << 20)])
            if not nosync:
                os.fsync(fd)
            os.close(fd)
        except OSError as e:
            print(int((time.monotonic() - begun) * 1000),
                  errno.errorcode[e.errno], name)
            return 3 if e.errno == errno.ENOSPC else 1
        print(name, size, file=log, flush=True)
    return 0


def check(model, top):
    bad = 0
    lines = [x.split() for x in open(model)]
    for name, size in lines:
        try:
            have = open(f"{top}/{name}", "rb").read()
        except OSError as e:
            have = None
            print(name, e.strerror)
        if have != content(name, int(size)):
            bad += 1
            print(name, "is wrong", size, have and len(have))
    print(len(lines), "files,", bad, "wrong")
    return bad > 0 or not lines


def gone(model, *names):
    lines = [x for x in open(model) if x.split()[0] not in names]
    open(model, "w").writelines(lines)
    return 0


def fill(path):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for step in 1 << 20, 64 << 10, 4096:
        try:
            while True:
                os.write(fd, b"f" * step)
                os.fdatasync(fd)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
    os.close(fd)
    return 0


def mapped(path, name, size):
    with open(path, "rb") as f:
        with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            return m[:] != content(name, int(size))


# Right bytes, or ENFILE; nothing else.
def many(top, n):
    n = int(n)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    names = sorted(os.listdir(top))[:n]
    told = {}
    wrong = []
    fds = {}

    def note(e):
        word = errno.errorcode[e.errno]
        told[word] = told.get(word, 0) + 1

    def read(name):
        try:
            if name not in fds:
                fds[name] = os.open(f"{top}/{name}", os.O_RDONLY)
            size = os.fstat(fds[name]).st_size
            data = b""
            while len(data) < size:
                data += os.pread(fds[name], size - len(data), len(data))
            if data != content(name, size):
                wrong.append(name)
        except OSError as e:
            note(e)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(read, names))
        list(pool.map(read, reversed(names)))
    print(len(fds), "open,", len(wrong), "wrong,", told)
    return len(wrong) > 0 or not set(told) <= {"ENFILE"}


SPARE = 256                     # descriptors that the daemon has, at most


def descriptors(pid, n):
    """Of backing files the daemon may open n more: half of fewer than 256
    descriptors is for its own work."""
    used = {int(x) for x in os.listdir(f"/proc/{pid}/fd")}
    least = [x for x in range(SPARE) if x not in used][n]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (2 * least, SPARE))


# Passed, not passed for want of a descriptor, or refused with ENFILE: nothing
# else, and the bytes are right.
def short(top, prefix, size, pid, gnsfs):
    why = "there was no descriptor left for it"
    pid, size, seen = int(pid), int(size), {}

    def one(path, flags, n, data):
        # what is idle is closed first: it would make room
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, SPARE))
        try:
            os.close(os.open(f"{top}/lake/{prefix}0", os.O_RDONLY))
        except OSError as e:
            assert e.errno == errno.ENFILE, e
        descriptors(pid, n)
        fd = None
        try:
            fd = os.open(path, flags, 0o644)
            if flags & os.O_CREAT:
                assert os.write(fd, data) == size
                os.fsync(fd)
            assert os.pread(fd, size, 0) == data, path
        except OSError as e:
            assert e.errno == errno.ENFILE, e
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (SPARE, SPARE))
        if fd is None:
            return "ENFILE"
        said = subprocess.run([gnsfs, "explain", path], check=True,
                              capture_output=True, text=True).stdout
        assert os.pread(fd, size, 0) == data, path
        os.close(fd)
        return why if why in said else "passed" if "kernel: " in said else said

    for kind, n in (("read", 1), ("new", 0)):
        for i in range(1, 20):
            path = f"{top}/lake/{prefix}{i}" if n else f"{top}/d/short{i}"
            data = content(os.path.basename(path), size)
            flags = os.O_RDONLY if n else os.O_CREAT | os.O_RDWR
            how = one(path, flags, n, data)
            seen.setdefault(kind, []).append(how)
            # others of the daemon's may have been quicker: once more
            if how == why:
                break
    print(seen)
    return not all(x[-1] == why and set(x) <= {why, "passed", "ENFILE"}
                   for x in seen.values())


def hold(model, top, prefix, count, size, ready, go):
    fds = []
    for i in range(int(count)):
        name = f"{prefix}{i}"
        fds.append(os.open(f"{top}/{name}", os.O_CREAT | os.O_RDWR, 0o644))
        os.write(fds[-1], content(name, int(size)))
    open(ready, "w").close()
    end = time.monotonic() + 60
    while not os.path.exists(go) and time.monotonic() < end:
        time.sleep(0.05)
    for fd in fds:
        os.close(fd)
    with open(model, "a") as log:
        for i in range(int(count)):
            print(f"{prefix}{i}", size, file=log)
    return 0


def fails(*cmd):
    begun = time.monotonic()
    r = subprocess.run(cmd, capture_output=True, text=True)
    ms = int((time.monotonic() - begun) * 1000)
    print(ms, r.stderr.strip())
    return r.returncode == 0 or "No space left" not in r.stderr


STEP = 256 << 10


def write_all(fd, data, at):
    while data:
        n = os.pwrite(fd, data, at)
        data = data[n:]
        at += n


def weave(path, copy, size):
    size = int(size)
    rnd = random.Random(size)
    fds = [os.open(path, os.O_CREAT | os.O_RDWR, 0o644),
           os.open(path, os.O_RDWR),
           os.open(copy, os.O_CREAT | os.O_RDWR, 0o644)]
    for n, at in enumerate(range(0, size, STEP)):
        data = rnd.randbytes(min(STEP, size - at))
        write_all(fds[0], data, at)
        write_all(fds[2], data, at)
        if n % 6 == 5:
            data = rnd.randbytes(rnd.randrange(1, STEP))
            to = rnd.randrange(at)
            write_all(fds[1], data, to)
            write_all(fds[2], data, to)
        if n % 7 == 6:
            to = rnd.randrange(at)
            # not what the kernel has of it
            os.posix_fadvise(fds[0], to, STEP, os.POSIX_FADV_DONTNEED)
            if os.pread(fds[0], STEP, to) != os.pread(fds[2], STEP, to):
                print("wrong while it is written, near", to, "of", at)
                return 1
        if n == size // STEP // 2:
            # shorter, in what may be on its way, and long again
            for fd in fds[0], fds[2]:
                os.ftruncate(fd, at - 3 * STEP - 5)
                os.ftruncate(fd, at + STEP)
    for at in range(0, size, STEP):
        if os.pread(fds[1], STEP, at) != os.pread(fds[2], STEP, at):
            print("wrong after it is written, near", at)
            return 1
    return 0


def halt(path, size, kept, ready):
    data = content("halt", int(size))
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        for at in range(0, len(data), STEP):
            write_all(fd, data[at:at + STEP], at)
            if at + STEP == int(kept):
                os.fsync(fd)
                open(ready, "w").close()
    except OSError as e:
        print(e.strerror, "at", at)
    return 0


def starts(path, size, kept):
    data = content("halt", int(size))
    have = open(path, "rb").read()
    print(len(have), "bytes")
    if len(have) < int(kept) or have[:int(kept)] != data[:int(kept)]:
        return 1
    for at in range(0, len(have), 4096):
        page = have[at:at + 4096]
        if page != data[at:at + len(page)] and page.strip(b"\0"):
            print("wrong at", at)
            return 1
    return 0


sys.exit({"put": put, "check": check, "gone": gone, "fill": fill,
          "map": mapped, "many": many, "short": short, "hold": hold,
          "fails": fails, "weave": weave,
          "halt": halt, "starts": starts}
         [sys.argv[1]](*sys.argv[2:]))
