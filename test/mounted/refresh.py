"""Readers for refresh.sh: what is read through one open file is one version
of it, or ESTALE (B5).

    refresh.py half FILE OLD CMD    reads some of FILE, which is OLD; runs CMD
                                    (which replaces it); reads on: what was
                                    here is OLD's, the rest OLD's or ESTALE
    refresh.py mapped FILE OLD CMD  the same with a mapping, of a file that is
                                    wholly here: OLD's
    refresh.py loop FILE DIR STOP   until STOP is there: opens FILE and reads
                                    it, once and again; what it reads is one of
                                    the files in DIR, which may be more by then
"""
import errno
import hashlib
import mmap
import os
import subprocess
import sys
import time

PIECE = 1 << 20


def read_rest(fd, off, old):
    """How many bytes were read before ESTALE, or the end."""
    while True:
        try:
            got = os.pread(fd, PIECE, off)
        except OSError as e:
            if e.errno != errno.ESTALE:
                raise
            return off
        if not got:
            assert off == len(old), f"ends at {off} of {len(old)}"
            return off
        assert got == old[off:off + len(got)], f"other bytes at {off}"
        off += len(got)


def half(path, old, cmd):
    with open(old, "rb") as f:
        old = f.read()
    fd = os.open(path, os.O_RDONLY)
    # not in order, lest the rest be read ahead
    off = len(old) // 2
    got = os.pread(fd, PIECE, off)
    assert got == old[off:off + len(got)], f"other bytes at {off}"
    ino = os.fstat(fd).st_ino
    subprocess.run(cmd, shell=True, check=True, stdout=subprocess.DEVNULL)
    end = read_rest(fd, off, old)
    assert end > off, "what was here is no more"
    assert os.fstat(fd).st_ino == ino, "it is another file"
    # again from the start: what was here is, or is ESTALE
    read_rest(fd, 0, old)
    print(f"{end} of {len(old)} bytes")


def mapped(path, old, cmd):
    with open(old, "rb") as f:
        old = f.read()
    with open(path, "rb") as f:
        m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        assert m[:] == old, "it is not the old one"
        subprocess.run(cmd, shell=True, check=True,
                       stdout=subprocess.DEVNULL)
        assert m[:] == old, "the mapping changed"
        f.seek(0)
        assert f.read() == old, "the open file changed"


def loop(path, folder, stop):
    known, seen, stale, reads = set(), set(), 0, 0
    while not os.path.exists(stop) or reads < 3:
        try:
            with open(path, "rb", buffering=0) as f:
                data = bytearray()
                while piece := f.read(PIECE):
                    data += piece
        except OSError as e:
            if e.errno != errno.ESTALE:
                raise
            stale += 1
            time.sleep(0.05)
            continue
        reads += 1
        digest = hashlib.sha256(data).digest()
        if digest not in known:
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as f:
                    known.add(hashlib.sha256(f.read()).digest())
        assert digest in known, f"read {reads}: a mixture of versions"
        seen.add(digest)
    print(f"{reads} reads, {len(seen)} versions, {stale} times ESTALE")


if __name__ == "__main__":
    {"half": half, "mapped": mapped, "loop": loop}[sys.argv[1]](*sys.argv[2:])
