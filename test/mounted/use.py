"""use.py: what programs do with files that shells do not.

  use.py TEST DIR       one of the functions below; says what is wrong, exits 1
"""
import errno
import fcntl
import mmap
import os
import random
import subprocess
import sys
import time


def child(code, *args):
    return subprocess.Popen([sys.executable, "-c", code, *args],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)


def t_mmap(d):
    """A file read and written through mappings, private and shared."""
    p = os.path.join(d, "mapped")
    data = random.Random(1).randbytes(3_000_000)
    with open(p, "wb") as f:
        f.write(data)
    with open(p, "rb") as f:
        m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        assert m[:] == data
        m.close()
        m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
        m[5:10] = b"hello"
        m.close()
    with open(p, "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
        m[1_000_000:1_000_005] = b"hello"
        m[2_999_995:] = b"there"
        m.flush()
        m.close()
        os.fsync(f.fileno())
    want = bytearray(data)
    want[1_000_000:1_000_005] = b"hello"
    want[2_999_995:] = b"there"
    with open(p, "rb") as f:
        assert f.read() == want


def t_mmap_closed(d):
    """A mapping outlives its descriptor (C2)."""
    p = os.path.join(d, "mapped-closed")
    with open(p, "wb") as f:
        f.write(bytes(1 << 20))
    with open(p, "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
    time.sleep(1)               # time to upload what was written
    m[:4] = b"late"
    m[-4:] = b"last"
    m.flush()
    m.close()
    with open(p, "rb") as f:
        x = f.read()
    assert x[:4] == b"late" and x[-4:] == b"last" and not any(x[4:-4])


HOLD = """
import fcntl, sys
f = open(sys.argv[1], "r+b")
getattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def locks(d, how):
    p = os.path.join(d, "locked." + how)
    open(p, "wb").close()
    lock = getattr(fcntl, how)
    c = child(HOLD, p, how)
    assert c.stdout.readline() == "held\n"
    with open(p, "r+b") as f:
        try:
            lock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise AssertionError("it is held twice")
        except OSError as e:
            assert e.errno in (errno.EWOULDBLOCK, errno.EACCES)
        c.stdin.close()
        lock(f, fcntl.LOCK_EX)          # waits until the child has ended
        lock(f, fcntl.LOCK_UN)
    assert c.wait() == 0


def t_flock(d):
    locks(d, "flock")


def t_lockf(d):
    locks(d, "lockf")


APPEND = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for i in range(int(sys.argv[3])):
    line = f"{sys.argv[2]} {i} " + "x" * (i % 90) + "\\n"
    assert os.write(fd, line.encode()) == len(line)
"""


def t_append(d):
    """Two processes append, line by line; no line is lost or torn."""
    p = os.path.join(d, "appended")
    open(p, "wb").close()
    cs = [child(APPEND, p, who, "2000") for who in "ab"]
    assert [c.wait() for c in cs] == [0, 0]
    with open(p) as f:
        lines = f.readlines()
    for who in "ab":
        mine = [x for x in lines if x.startswith(who)]
        assert mine == [f"{who} {i} " + "x" * (i % 90) + "\n"
                        for i in range(2000)], f"{len(mine)} of {who}"
    assert len(lines) == 4000


def t_unlinked(d):
    """An open file without a name is a file, however long it grows."""
    p = os.path.join(d, "nameless")
    fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"a" * 100)
    os.unlink(p)
    assert not os.path.exists(p) and os.fstat(fd).st_nlink == 0
    os.pwrite(fd, b"b" * 5_000_000, 100)
    os.fsync(fd)
    assert os.fstat(fd).st_size == 5_000_100
    assert os.pread(fd, 200, 0) == b"a" * 100 + b"b" * 100
    os.ftruncate(fd, 50)
    assert os.pread(fd, 200, 0) == b"a" * 50
    with open(p, "wb") as f:            # the name is free again
        f.write(b"another")
    assert os.pread(fd, 200, 0) == b"a" * 50
    os.close(fd)
    with open(p, "rb") as f:
        assert f.read() == b"another"


def t_replaced(d):
    """Who has the old file open reads the old file."""
    p, q = os.path.join(d, "replaced"), os.path.join(d, "replaced.new")
    for path, what in ((p, b"old" * 100_000), (q, b"new" * 100_000)):
        with open(path, "wb") as f:
            f.write(what)
    with open(p, "rb") as f:
        os.rename(q, p)
        assert f.read() == b"old" * 100_000
    with open(p, "rb") as f:
        assert f.read() == b"new" * 100_000


def t_holes(d):
    p = os.path.join(d, "holes")
    fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 20 << 20)
    os.pwrite(fd, b"one", 5 << 20)
    os.pwrite(fd, b"two", 11 << 20)
    assert os.lseek(fd, 0, os.SEEK_DATA) <= 5 << 20
    end = os.lseek(fd, 5 << 20, os.SEEK_HOLE)
    assert (5 << 20) + 3 <= end <= 20 << 20
    assert os.lseek(fd, 20 << 20, os.SEEK_END) == 40 << 20
    want = bytearray(20 << 20)
    want[5 << 20:(5 << 20) + 3] = b"one"
    want[11 << 20:(11 << 20) + 3] = b"two"
    assert os.pread(fd, 21 << 20, 0) == want
    os.posix_fallocate(fd, 0, 21 << 20)
    assert os.fstat(fd).st_size == 21 << 20
    assert os.pread(fd, 22 << 20, 0) == want + bytes(1 << 20)
    os.close(fd)


def t_vectors(d):
    """pwritev, preadv, copy_file_range, sendfile."""
    p, q = os.path.join(d, "vectors"), os.path.join(d, "vectors.copy")
    fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o600)
    assert os.pwritev(fd, [b"abc", b"", b"defg" * 50_000], 10) == 200_003
    bufs = [bytearray(5), bytearray(10)]
    assert os.preadv(fd, bufs, 8) == 15
    assert bytes(bufs[0]) == b"\0\0abc" and bytes(bufs[1]) == b"defgdefgde"
    to = os.open(q, os.O_RDWR | os.O_CREAT, 0o600)
    left, n = 200_013, 1
    while left and n:
        n = os.copy_file_range(fd, to, left)
        left -= n
    assert os.pread(to, 300_000, 0) == os.pread(fd, 300_000, 0)
    assert os.sendfile(to, fd, 10, 4) == 4
    os.close(fd)
    os.close(to)


def t_listing(d):
    """A folder that changes while it is read shows what stays, once."""
    top = os.path.join(d, "listing")
    os.mkdir(top)
    for i in range(3000):
        open(os.path.join(top, f"stay{i}"), "wb").close()
        if i % 3 == 0:
            open(os.path.join(top, f"go{i}"), "wb").close()
    seen = []
    with os.scandir(top) as it:
        for n, e in enumerate(it):
            seen.append(e.name)
            if n % 3 == 0:
                try:
                    os.unlink(os.path.join(top, f"go{n}"))
                except FileNotFoundError:
                    pass
                open(os.path.join(top, f"new{n}"), "wb").close()
    stay = [x for x in seen if x.startswith("stay")]
    assert len(stay) == len(set(stay)) == 3000, (len(stay), len(set(stay)))
    assert len(seen) == len(set(seen))


def t_executed(d):
    p = os.path.join(d, "true")
    with open("/bin/true", "rb") as f, open(p, "wb") as g:
        g.write(f.read())
    os.chmod(p, 0o755)
    assert subprocess.run([p], check=False).returncode == 0


globals()["t_" + sys.argv[1]](sys.argv[2])
