"""fill.py: the readers of fill.sh.  fill.py CASE FILE [WANT]: what FILE has is
compared with what WANT has, by sixteen readers at once, in pieces that are
mapped in no order, or here and there."""
import mmap
import os
import random
import sys
import threading

PIECE = 1 << 20


def together(path, want):
    """Sixteen at once, past the page cache, which would ask but once."""
    with open(want, "rb") as f:
        want = f.read()
    wrong = []
    gate = threading.Barrier(16)

    def read():
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        buf = mmap.mmap(-1, 1 << 20)
        gate.wait()
        n = os.preadv(fd, [buf], 0)
        if buf[:n] != want:
            wrong.append(n)
        os.close(fd)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sys.exit(f"{len(wrong)} read something else" if wrong else 0)


def shuffled(path, want):
    """A model's tensors, mapped and touched in no order."""
    have, want = os.open(path, os.O_RDONLY), os.open(want, os.O_RDONLY)
    size = os.fstat(have).st_size
    m = mmap.mmap(have, size, prot=mmap.PROT_READ)
    order = list(range(0, size, PIECE))
    random.Random(7).shuffle(order)
    for at in order:
        if m[at:at + PIECE] != os.pread(want, PIECE, at):
            sys.exit(f"wrong at {at}")


def scattered(path, want):
    """A database: twenty pages, anywhere, each of them ten times."""
    have = os.open(path, os.O_RDONLY | os.O_DIRECT)
    want = os.open(want, os.O_RDONLY)
    buf = mmap.mmap(-1, 4096)
    pages = random.Random(7).sample(range(os.fstat(have).st_size // 4096), 20)
    for n in pages * 10:
        os.preadv(have, [buf], n * 4096)
        if buf[:] != os.pread(want, 4096, n * 4096):
            sys.exit(f"wrong at {n * 4096}")


globals()[sys.argv[1]](*sys.argv[2:])
