# trace.sh: what a trace of the requests shows of how they overlap: one cold
# file read by several GETs at once, two readers through one descriptor, a slow
# link that no more is asked of than it carries, one import listed by several
# LISTs, small
# files fetched before they are asked for, after an outage too, and none of
# them wrong.
# timeout: 300

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
MIB=256
EACH=2000			# objects in each of 20 folders

# A large object and many small ones, straight into the server's folder.
make_source()
{
	python3 - "$1" $MIB $EACH <<-'END'
		import os, sys
		top, mib, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		os.makedirs(top + "/one")
		with open(top + "/one/large", "wb") as f:
		    piece = os.urandom(1 << 20)
		    for i in range(mib):
		        f.write(i.to_bytes(8, "big") + piece[8:])
		for i in range(20):
		    os.makedirs(f"{top}/many/folder-{i:02}")
		    for n in range(each):
		        name = f"{top}/many/folder-{i:02}/{n:05}"
		        with open(name, "wb") as f:
		            f.write(b"%d" % n)
	END
}

# overlap OP KEY: the most requests under way at once, by their times, among
# those of the operation whose key begins so.
overlap()
{
	python3 - "$T/trace" "$1" "$2" <<-'END'
		import sys
		events = []
		for line in open(sys.argv[1]):
		    f = dict(w.split("=", 1) for w in line.split() if "=" in w)
		    if f["op"] == sys.argv[2] and \
		        f["key"].startswith(sys.argv[3]):
		        begun = int(f["t"])
		        events += [(begun, 1), (begun + int(f["dur"]), -1)]
		most = now = 0
		for _, step in sorted(events):
		    now += step
		    most = max(most, now)
		print(most)
	END
}

# most_inflight OP: what the trace itself counted.
most_inflight()
{
	sed -n "s/.* op=$1 .* inflight=\([0-9]*\).*/\1/p" "$T/trace" |
	    sort -n | tail -n 1
}

# counter NAME: of the mount.
counter()
{
	"$GNSFS" status "$m" --json >"$T/status" &&
	    python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["counters"][sys.argv[2]])' "$T/status" "$1"
}

start_s3
s3_bucket home || bail "no bucket"
s3_bucket lake || bail "no bucket"
home=$(s3_url home)
mkfifo "$T/link.end"
make_source "$S3_DIR/objects/lake" || bail "no source"
format_home "$home"
export GNSFS_TRACE="$T/trace"
start_mount "$home" "$m" io_timeout=5s

: >"$T/trace"
check "import of $((20 * EACH)) objects" \
    "$GNSFS" import "$(s3_url lake/many)" "$m/many"
check_eq "they are all there" $((20 * EACH)) "$(find "$m/many" -type f | wc -l)"
most=$(overlap list many/)
check "at least four LISTs of it at once: $most" [ "$most" -ge 4 ]
most=$(most_inflight list)
check "so says inflight=: $most" [ "${most:-0}" -ge 4 ]

check "import of one of $MIB MiB" \
    "$GNSFS" import "$(s3_url lake/one)" "$m/one"
: >"$T/trace"
check "it is read in order" \
    cmp "$S3_DIR/objects/lake/one/large" "$m/one/large"
most=$(overlap get one/large)
check "at least four GETs of it at once: $most" [ "$most" -ge 4 ]
most=$(most_inflight get)
check "so says inflight=: $most" [ "${most:-0}" -ge 4 ]

# Two that read on, by turns, through one descriptor (fs/window.h): of each
# the first reads alone find nothing on its way.
check "evicted" "$GNSFS" evict "$m/one/large"
waits=$(counter fill_waits)
check "two readers of one descriptor" python3 -c '
import mmap, os, sys
have = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)  # as it is asked here
want = os.open(sys.argv[2], os.O_RDONLY)
buf = mmap.mmap(-1, 1 << 20)
for i in range(24):
    for base in (40, 160):
        n = os.preadv(have, [buf], base + i << 20)
        if buf[:n] != os.pread(want, 1 << 20, base + i << 20):
            sys.exit(1)' "$m/one/large" "$S3_DIR/objects/lake/one/large"
n=$(($(counter fill_waits) - waits))
check "both are read ahead of: $n of 48 reads found nothing" [ "$n" -le 8 ]

# A reader that stops leaves behind it what a slow link had a use for, not what
# it would have read next (fs/window.h): 10 MB a second, 20 ms away.
python3 test/bench/link.py --to "$S3_PORT" --rate 80e6 --rtt 0.020 \
    >"$T/link" <"$T/link.end" &
exec 8>"$T/link.end"
wait_for 10 [ -s "$T/link" ] || bail "no link"
far=http://127.0.0.1:$(cat "$T/link")
check "import over a slow link" "$GNSFS" import \
    "s3://lake/one?endpoint=$far&region=us-east-1" "$m/slow"
# What is here of that file, not what else is fetched; and a machine that stalls
# takes what it has buffered meanwhile for a fast link: the least of some tries.
here()
{
	"$GNSFS" explain --json "$m/slow/large" >"$T/explain" &&
	    json "$T/explain" "j['cached_bytes'] >> 20"
}
least=$MIB
for i in 1 2 3 4 5; do
	check "24 MiB of it are read" sh -c "dd if='$m/slow/large' bs=1M \
	    count=24 status=none | cmp -n 25165824 - \
	    '$S3_DIR/objects/lake/one/large'"
	n=0
	while [ "$n" != "$(here)" ]; do
		n=$(here)
		sleep 1
	done
	say "fetched: $n MiB"
	[ "$n" -ge "$least" ] || least=$n
	[ "$least" -gt 36 ] || break
	check "evicted" "$GNSFS" evict "$m/slow/large"
	echo 1 >/proc/sys/vm/drop_caches
done
check "at most 12 more were fetched: $least" [ "$least" -le 36 ]
check "and those are here: $least" [ "$least" -ge 24 ]
exec 8>&-

# Small files that one reader wants one after the other (fs/ahead.h).
FILES=500
: >"$T/trace"
check "$FILES imported files are read in order" sh -c \
    "find '$m/many/folder-00' -type f | sort | head -n $FILES | xargs cat"
most=$(overlap get many/)
check "at least four GETs of them at once: $most" [ "$most" -ge 4 ]
mkdir "$m/packed"
for i in $(seq $FILES); do
	echo "file $i" >"$m/packed/$i"
done
check "$FILES files are stored" "$GNSFS" sync "$m"
check "and evicted" "$GNSFS" evict "$m/packed"
# an outage that some of each block meet does not end it for the others
s3_stop
n=$(for i in $(seq 1 12 $FILES); do
	cat "$m/packed/$i" 2>/dev/null
done | wc -c)
check_eq "without the store there is none of them" 0 "$n"
s3_start "$T/s3" "$S3_PORT" || bail "the store does not come back"
wait_for 30 cat "$m/packed/1" || bail "no file can be read again"
: >"$T/trace"
check "they are read again" sh -c \
    "find '$m/packed' -type f | xargs cat | sort -u | grep -c ^file | \
    grep -qx $FILES"
n=$(grep -c ' op=get key=data/' "$T/trace")
check "by fewer than a GET for two: $n" [ "$n" -lt $((FILES / 2)) ]

# A street: a file each of eight of its blocks, and all of it comes.
mkdir "$m/street"
for i in $(seq 1100); do
	echo "file $i" >"$m/street/$i"
done
check "1,100 files are stored" "$GNSFS" sync "$m"
check "and evicted" "$GNSFS" evict "$m/street"
python3 - "$m/street" "$T/few" "$T/all" <<-'END'
	import os, sys
	streets = {}
	for e in os.scandir(sys.argv[1]):
	    streets.setdefault(e.inode() // 1024, {}).setdefault(
	        e.inode() // 64, []).append(e.path)
	blocks = max(streets.values(), key=len)
	for name, files in ((sys.argv[2], [b[0] for b in blocks.values()][:8]),
	        (sys.argv[3], sum(blocks.values(), []))):
	    with open(name, "w") as f:
	        f.write("".join(x + "\n" for x in files))
END
check_eq "eight blocks of it" 8 "$(wc -l <"$T/few")"
size=$(xargs -n 1 basename <"$T/all" | awk '{ n += length($1) + 6 }
    END { print n }')
# brings SECONDS: bytes that come after a file of each was read, until all have.
brings()
{
	had=$(counter fill_bytes)
	xargs cat <"$T/few" >/dev/null || echo "they cannot be read"
	for i in $(seq $(($1 * 10))); do
		n=$(($(counter fill_bytes) - had))
		[ $n -lt "$size" ] || break
		sleep 0.1
	done
	echo $n
}
n=$(brings 10)
check "a file of each brings all of it" [ "$n" -ge "$size" ]
: >"$T/trace"
check "all of it is read" sh -c "xargs cat <'$T/all' >/dev/null"
check_eq "  and was here" 0 "$(grep -c ' op=get key=data/' "$T/trace")"
check "evicted once more" "$GNSFS" evict "$m/street"
n=$(brings 10)
check "a file of each brings all of it again" [ "$n" -ge "$size" ]

# In a cache that is full, only where there is what nobody used for long.
check "evicted again" "$GNSFS" evict "$m/street"
used=$("$GNSFS" status "$m" --json | python3 -c '
import json, sys
print(json.load(sys.stdin)["cache"]["used"])')
stop_mount "$m"
start_mount "$home" "$m" io_timeout=5s,cache_size=$((used / 9 * 10))
n=$(brings 2)
check "in a full cache they bring no others: $n" [ "$n" -lt "$size" ]
check "evicted" "$GNSFS" evict "$m/street"
stop_mount "$m"
check "what it has is an hour older" python3 -c '
import sqlite3, sys
for name, table in (("state", "c_file"), ("small", "s_used")):
    d = sqlite3.connect(f"{sys.argv[1]}/{name}.db")
    n = d.execute(f"UPDATE {table} SET atime = atime - 3600000000000").rowcount
    d.commit()
    if n == 0:
        sys.exit(1)' "$T/cache.m"
start_mount "$home" "$m" io_timeout=5s,cache_size=$((used / 9 * 10))
n=$(brings 10)
check "what nobody used for long makes room for all of it" [ "$n" -ge "$size" ]

# What is left of large files, whose sums are not of what is left (fs/sums.h).
mkdir "$m/cut" "$T/cut"
for i in $(seq 40); do
	head -c 100000 /dev/urandom >"$T/cut/$i"
	cp "$T/cut/$i" "$m/cut/$i"
done
check "40 files are stored" "$GNSFS" sync "$m"
check "and evicted" "$GNSFS" evict "$m/cut"
truncate -s 50000 "$m"/cut/* "$T"/cut/*
check "cut, they are stored" "$GNSFS" sync "$m"
check "and evicted again" "$GNSFS" evict "$m/cut"
find "$S3_DIR/objects/home/data" -type f -size 100000c >"$T/objects"
check_eq "they are in an object each" 40 "$(wc -l <"$T/objects")"
while read -r f; do
	printf wrong | dd of="$f" bs=1 seek=1000 conv=notrunc status=none
done <"$T/objects"
n=$(for i in $(seq 40) $(seq 40); do
	cat "$m/cut/$i" 2>/dev/null
done | wc -c)
check_eq "a store that damages them: none of them can be read" 0 "$n"
check "each line has op, key, inflight and tag" sh -c \
    "! grep -vE ' op=[a-z]+ key=.* inflight=[0-9]+ tag=' '$T/trace'"
stop_mount "$m"
finish
