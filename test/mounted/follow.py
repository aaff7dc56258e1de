"""The cases of follow.sh: follow.py CASE WRITER READER, two mounts' folders.

W writes, R follows; `held` are descriptors of R.
"""

import errno
import mmap
import os
import random
import subprocess
import sys
import time

MIB = 1 << 20
CASE, W, R = sys.argv[1:4]
NAME = CASE
WAIT = 20               # seconds until R must show what W stored


def content(seed, size):
    return random.Random(f"{CASE} {seed}").randbytes(size)


def sync():
    subprocess.run([os.environ["GNSFS_BIN"], "sync", W], check=True,
                   stdout=subprocess.DEVNULL)


def write(data, name=NAME):
    with open(f"{W}/{name}", "wb") as f:
        f.write(data)
    sync()


def until(what, fn):
    end = time.monotonic() + WAIT
    while True:
        try:
            if fn():
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < end, f"after {WAIT} s not {what}"
        time.sleep(0.02)


def size_is(n, name=NAME):
    until(f"{n} bytes", lambda: os.stat(f"{R}/{name}").st_size == n)


def read(name=NAME):
    with open(f"{R}/{name}", "rb") as f:
        return f.read()


def whole(fd):
    parts, at = [], 0
    while part := os.pread(fd, MIB, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def hold(data, name=NAME):
    """R's descriptor, of which only the beginning was read."""
    size_is(len(data), name)
    fd = os.open(f"{R}/{name}", os.O_RDONLY)
    assert os.pread(fd, 4096, 0) == data[:4096]
    return fd


def goes_on(fd, data):
    assert os.fstat(fd).st_size == len(data), os.fstat(fd).st_size
    at = max(0, len(data) - 8192)
    assert os.pread(fd, 4096, at) == data[at:at + 4096], "its end"
    assert whole(fd) == data, "all of it"


def part(fd, old, new):
    """The new bytes for who opens it, the old ones for who had it open."""
    size_is(len(new))
    assert read() == new
    goes_on(fd, old)
    os.close(fd)
    assert read() == new


def rewritten_cold():
    old, new = content("old", 40 * MIB), content("new", 41 * MIB)
    write(old)
    fd = hold(old)
    write(new)
    size_is(len(new))
    assert read() == new
    goes_on(fd, old)
    assert os.fstat(fd).st_ino == os.stat(f"{R}/{NAME}").st_ino
    os.close(fd)
    assert read() == new


def rewritten_passed():
    old, new = content("old", 6 * MIB), content("new", 7 * MIB)
    write(old)
    size_is(len(old))
    assert read() == old        # all of it is here: it may be passed
    fd = os.open(f"{R}/{NAME}", os.O_RDONLY)
    m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    assert m[:4096] == old[:4096]
    write(new)
    size_is(len(new))
    assert read() == new
    assert read() == new
    goes_on(fd, old)
    assert m[:] == old
    with open(f"{R}/{NAME}", "rb") as both:
        assert both.read(MIB) == new[:MIB]
        goes_on(fd, old)
    m.close()
    os.close(fd)
    assert read() == new


def shorter():
    old, new = content("old", 40 * MIB), content("new", 3 * MIB)
    write(old)
    fd = hold(old)
    write(new)
    size_is(len(new))
    goes_on(fd, old)
    assert read() == new
    os.close(fd)


def removed():
    old = content("old", 40 * MIB)
    write(old)
    fd = hold(old)
    os.unlink(f"{W}/{NAME}")
    sync()
    until("gone", lambda: not os.path.exists(f"{R}/{NAME}"))
    goes_on(fd, old)
    os.close(fd)


def renamed_over():
    old, new = content("old", 40 * MIB), content("new", 5 * MIB)
    write(old)
    fd = hold(old)
    write(new, "tmp")
    os.rename(f"{W}/tmp", f"{W}/{NAME}")
    sync()
    size_is(len(new))
    assert read() == new
    goes_on(fd, old)
    os.close(fd)


def linked():
    """Another name of it is looked up anew, too."""
    old, new = content("old", 20 * MIB), content("new", 21 * MIB)
    write(old)
    os.link(f"{W}/{NAME}", f"{W}/other")
    sync()
    size_is(len(old), "other")
    fd = hold(old)
    write(new)
    size_is(len(new))
    size_is(len(new), "other")
    assert read("other") == new
    goes_on(fd, old)
    os.close(fd)


def thrice():
    """Each goes on with what it opened."""
    held = []
    for i in range(3):
        data = content(i, (10 + i) * MIB)
        write(data)
        held.append((hold(data), data))
    for fd, data in held:
        goes_on(fd, data)
        os.close(fd)
    assert read() == held[-1][1]


def reopened():
    """Through /proc an old one cannot be opened again: ESTALE, not a mixture."""
    old, new = content("old", 10 * MIB), content("new", 11 * MIB)
    write(old)
    fd = hold(old)
    write(new)
    size_is(len(new))
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))
        assert False, "it was opened"
    except OSError as e:
        assert e.errno == errno.ESTALE, e
    goes_on(fd, old)
    os.close(fd)


def small():
    """A small one that is open: later opens get the new bytes."""
    old, new = content("old", 3000), content("new", 4000)
    write(old)
    size_is(len(old))
    fd = os.open(f"{R}/{NAME}", os.O_RDONLY)
    assert os.pread(fd, 100, 0) == old[:100]
    write(new)
    size_is(len(new))
    until("the new bytes", lambda: read() == new)
    goes_on(fd, old)
    os.close(fd)
    assert read() == new


def small_to_large():
    old, new = content("old", 3000), content("new", 5 * MIB)
    write(old)
    size_is(len(old))
    fd = os.open(f"{R}/{NAME}", os.O_RDONLY)
    assert os.pread(fd, 3000, 0) == old
    write(new)
    part(fd, old, new)


def large_to_small():
    old, new = content("old", 20 * MIB), content("new", 3000)
    write(old)
    fd = hold(old)
    write(new)
    part(fd, old, new)


def raced():
    """Looked at while it comes about: what the kernel keeps is the last."""
    for i in range(40):
        name, size = f"r{i}", 70000 + i
        with open(f"{W}/{name}", "wb") as f:
            f.write(bytes(size))
        end = time.monotonic() + WAIT
        seen = None
        while seen != size:
            try:
                seen = os.stat(f"{R}/{name}").st_size
            except FileNotFoundError:
                seen = None
            assert time.monotonic() < end, (name, seen)


globals()[CASE]()
