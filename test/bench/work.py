"""What the benchmarks time: reading, writing and making files, as programs
do it.  Nothing here knows which filesystem it works on."""
import json
import mmap
import os
import random
import struct
import subprocess
import time

MIB = 1 << 20
GIB = 1 << 30


def sh(*args, **kw):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, **kw)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def timed(fn):
    start = time.monotonic()
    fn()
    return time.monotonic() - start


def together(jobs):
    """Each job in a process of its own, all let go at once; seconds until
    the last one has ended."""
    gate, opener = os.pipe()
    pids = []
    for job in jobs:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(opener)
                os.read(gate, 1)        # until the parent closes its end
                job()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    os.close(gate)

    def go():
        os.close(opener)
        failed = [p for p in pids if os.waitpid(p, 0)[1] != 0]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(pids)} jobs failed")
    return timed(go)


# --- large files ---

def read_all(path):
    """One reader, 1 MiB calls; bytes read."""
    fd = os.open(path, os.O_RDONLY)
    buf = bytearray(MIB)
    total = 0
    while True:
        n = os.readv(fd, [buf])
        if n == 0:
            break
        total += n
    os.close(fd)
    return total


def write_all(path, size, head=b""):
    """A new file, 1 MiB calls of incompressible bytes, then fsync."""
    block = os.urandom(MIB)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    for _ in range(size // MIB):
        os.write(fd, block)
    if head:
        os.pwrite(fd, head, 0)
    os.fsync(fd)
    os.close(fd)


def touch_memory(size):
    """A virtual machine's memory is slow when it is touched for the first
    time, or again after the host took it back: 1 GiB of it costs more than
    writing it to the disk.  So that neither contender pays for the other,
    what is about to be filled is touched right before."""
    if size == 0:
        return
    with mmap.mmap(-1, size) as m:
        for off in range(0, size, 4096):
            m[off] = 1


def write_tensors(path, size):
    """A file laid out as safetensors are: the length of a header in JSON, the
    header, then the tensors one after the other, of unlike sizes."""
    tensors, at, i = {}, 0, 0
    room = size - MIB
    while at < room:
        n = min((4, 16, 64, 16)[i % 4] * MIB, room - at)
        tensors[f"layer.{i}.weight"] = {
            "dtype": "BF16", "shape": [n // 2], "data_offsets": [at, at + n]}
        at += n
        i += 1
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    write_all(path, size, struct.pack("<Q", len(text)) + text)


def load_tensors(path, shuffled=False):
    """Maps it and touches every page, tensor by tensor, as a loader that
    copies from the mapping does, or in an order of its own (always the same
    one); bytes mapped."""
    fd = os.open(path, os.O_RDONLY)
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
        os.close(fd)
        n, = struct.unpack("<Q", m[:8])
        tensors = list(json.loads(m[8:8 + n]).values())
        if shuffled:
            random.Random(7).shuffle(tensors)
        for t in tensors:
            lo, hi = t["data_offsets"]
            m[8 + n + lo:8 + n + hi:4096]
        return len(m)


def fio(path, rw, bs, seconds=0, depth=1, direct=False):
    """fio's own figures: MiB/s of one pass, or, with seconds, operations/s.
    depth: through the page cache that many threads, by O_DIRECT that many
    requests of one thread."""
    args = ["fio", "--name=b", f"--filename={path}", f"--rw={rw}",
            f"--bs={bs}", "--readonly", "--invalidate=0",
            "--allow_file_create=0", "--norandommap", "--thread",
            "--group_reporting", "--output-format=json"]
    if seconds:
        args += ["--time_based", f"--runtime={seconds}"]
    if direct:
        args += ["--direct=1", "--ioengine=libaio", f"--iodepth={depth}"]
    else:
        args += ["--ioengine=psync", f"--numjobs={depth}"]
    out = sh(*args, text=True).stdout
    read = json.loads(out[out.index("{"):])["jobs"][0]["read"]
    return read["iops"] if seconds else read["bw_bytes"] / MIB


# --- many small files ---

def make_many(folder, n, size=4096, sync=False):
    """Create, write, (fsync,) close."""
    os.makedirs(folder)
    block = os.urandom(size)
    for i in range(n):
        fd = os.open(f"{folder}/{i:06d}", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, block)
        if sync:
            os.fsync(fd)
        os.close(fd)


def make_sizes(folder, sizes, each_folder=1000):
    """Files of these sizes, each_folder a folder; their names below it."""
    block = os.urandom(1 << 16)
    names = []
    for i, size in enumerate(sizes):
        if i % each_folder == 0:
            os.makedirs(f"{folder}/d{i // each_folder:03d}")
        names.append(f"d{i // each_folder:03d}/f{i:06d}.bin")
        with open(f"{folder}/{names[-1]}", "wb", buffering=0) as f:
            f.write(block[:size])
    return names


def unlink_many(folder, n):
    for i in range(n):
        os.unlink(f"{folder}/{i:06d}")


def read_files(paths):
    for p in paths:
        fd = os.open(p, os.O_RDONLY)
        while os.read(fd, 1 << 17):
            pass
        os.close(fd)


def read_shuffled(folder, names, processes, seed):
    """All of them in random order, dealt to processes; files/s."""
    paths = [f"{folder}/{n}" for n in names]
    random.Random(seed).shuffle(paths)
    jobs = [lambda i=i: read_files(paths[i::processes])
            for i in range(processes)]
    return len(paths) / together(jobs)


def stat_many(paths, times):
    for _ in range(times):
        for p in paths:
            os.stat(p)


def find(path):
    sh("find", path, "-type", "f", "-size", "+1")
