# memory.sh: what memory= says holds, with a thousand readers at once, with a
# find over many inodes, and with a file twice as large as the cache that is
# read, and one that is written and read back; and what is known of inodes in
# core is of those that are open, not of the tree.
# build: plain
#
# A thousand files are open and read sequentially by a thread each: as it is by
# default, none of them here yet, so that the daemon reads and reads ahead; and
# with an eighth of memory=, where the limit is near.  A sanitizer's shadow
# would be counted: the plain program.

. "$(dirname "$0")/../lib.sh"
begin
READERS=1000
SIZE=3000000
[ -z "${GNSFS_TEST_SHORT:-}" ] || SIZE=1200000
INODES=20000
m=$T/m
url=$(store_url file home)
lake=$(store_url file lake)
large=$(store_url file large)
many=$(store_url file many)
format_home "$url"

# peak: what the daemon has used at most, MiB.
peak()
{
	"$GNSFS" status "$m" --json >"$T/status" &&
	    json "$T/status" "j['peak_memory'] >> 20"
}

# below MIB: the daemon has used less.
below()
{
	_peak=$(peak)
	check "the daemon has used less than $1 MiB: $_peak" \
	    test "$_peak" -lt "$1"
}

# few: of inodes in core there are few.
few()
{
	"$GNSFS" status "$m" --json >"$T/status" &&
	    n=$(json "$T/status" "j['counters']['inodes_in_core']") &&
	    [ "$n" -le 16 ]
}

cat >"$T/files.py" <<'END'
"""files.py make DIR COUNT SIZE | read DIR SIZE | open DIR COUNT"""
import hashlib, json, os, subprocess, sys, threading
def make(top, count, size):
    for i in range(int(count)):
        with open(f"{top}/{i}", "wb") as f:
            f.write(b"file %d\n" % i)
            f.truncate(int(size))
def right(n, size):
    return hashlib.sha256((b"file %d\n" % n).ljust(size, b"\0")).digest()
def read_all(top, size):
    size = int(size)
    files = {int(n): os.open(f"{top}/{n}", os.O_RDONLY)
             for n in os.listdir(top)}
    wrong = []
    def read(n, fd):
        h = hashlib.sha256()
        while part := os.read(fd, 131072):
            h.update(part)
        if h.digest() != right(n, size):
            wrong.append(n)
    threads = [threading.Thread(target=read, args=x) for x in files.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(len(files), "files", len(wrong), "wrong")
    return len(wrong)
def open_each(top, count):
    fds = [os.open(f"{top}/{i}", os.O_RDONLY) for i in range(int(count))]
    for i, fd in enumerate(fds):
        assert os.read(fd, 100) == b"file %d\n" % i, i
    out = subprocess.run([os.environ["GNSFS"], "status", "--json", top],
                         check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(out)["counters"]["inodes_in_core"] >= len(fds)
    for fd in fds:
        os.close(fd)
sys.exit({"make": make, "read": read_all, "open": open_each}
    [sys.argv[1]](*sys.argv[2:]))
END
python3 "$T/files.py" make "$(store_dir file lake)" $READERS $SIZE &&
    head -c 134217728 /dev/urandom >"$T/large" &&
    cp "$T/large" "$(store_dir file large)/f" &&
    python3 - "$(store_dir file many)" $INODES <<'END' || bail "no files"
import os, sys
top, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    if i % 1000 == 0:
        os.mkdir(f"{top}/{i // 1000}")
    with open(f"{top}/{i // 1000}/{i % 1000}", "w") as f:
        f.write("file %d\n" % (i % 1000))
END

start_mount "$url" "$m"
check "import" "$GNSFS" import "$lake" "$m/lake"
check "import of $INODES" "$GNSFS" import "$many" "$m/many"
check "import of a large one" "$GNSFS" import "$large" "$m/large"
check "$READERS readers at once" python3 "$T/files.py" read "$m/lake" $SIZE
say "$(cat "$T/out")"
below 512
check_eq "find sees $INODES" $INODES "$(find "$m/many" -type f -size 1 | wc -l)"
below 512
check "none of them stays in core" wait_for 20 few
check "1,000 are opened, read, in core, and closed" \
    env GNSFS="$GNSFS" python3 "$T/files.py" open "$m/many/7" 1000
check "nor do those" wait_for 20 few
few
say "in core: $n"
stop_mount "$m"

rm -rf "$T/cache.m"
start_mount "$url" "$m" memory=64M
check "$READERS readers at once" python3 "$T/files.py" read "$m/lake" $SIZE
below 64
check_eq "find sees $INODES" $INODES "$(find "$m/many" -type f -size 1 | wc -l)"
below 64
stop_mount "$m"

rm -rf "$T/cache.m"
start_mount "$url" "$m" memory=64M,cache_size=64M,lag=100ms
check "a file twice as large as the cache is read" cmp "$T/large" "$m/large/f"
below 64
check "and written" cp "$T/large" "$m/written"
check "and read back" cmp "$T/large" "$m/written"
below 64
stop_mount "$m"
finish
