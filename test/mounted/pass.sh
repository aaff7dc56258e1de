# pass.sh: passthrough (fs/pass.h): what the kernel does with a backing file
# itself is what it would be through the daemon: sizes and times while a file
# is written (F3), opens that join (F1), mappings that outlive their close
# (C2), private ones, files with content opened for writing (C3), caches that
# are small or filling up (F6), kill -9 (F2); test/mounted/pass.py has the
# cases.  Then the same with passthrough=off, and that what is stored is the
# same.
# timeout: 400

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m
format_home "$url"
GNSFS_BIN=$GNSFS
STORE=$(store_dir file home)
DISK=$(stat -f -c %T "$T")
export GNSFS_BIN STORE DISK

# counter NAME [DIR]
counter()
{
	"$GNSFS" status --json "${2:-$m}" >"$T/status"
	json "$T/status" "j['counters']['$1']"
}

# cases DIR TEST...: each in a folder of its own below DIR.
cases()
{
	_dir=$1
	shift
	for _case in "$@"; do
		mkdir -p "$_dir/$_case"
		check "$_case ($how)" timeout 60 python3 \
		    "$TOP/test/mounted/pass.py" "$_case" "$_dir/$_case" "$how"
	done
}

all="growing times append truncate holes copy joined trunc_again unlinked
    readers reopened direct locks mapped mapped_late mapped_small fsynced
    mapped_synced mapped_synced_small mapped_unlinked mapped_again private raced
    idle setid storm kinds small early appended written_to joined_seen stayed
    untouched"

how=passed
start_mount "$url" "$m" lag=200ms
"$GNSFS" status --json "$m" >"$T/status"
state=$(json "$T/status" 'j["passthrough"]')
old_kernel=$(uname -r | awk -F. '{ print ($1 < 6 || ($1 == 6 && $2 < 9)) }')
if [ "$old_kernel" = 1 ]; then
	skip "passthrough is on" "this kernel has none"
	how="off"
else
	check_eq "passthrough is on" on "$state"
fi
# C2: an open that breaks a lease of the daemon's must not end it
mask=$(sed -n 's/^SigIgn:[[:space:]]*/0x/p' "/proc/$(mount_pid "$m")/status")
check_eq "SIGIO is ignored" 1 $((mask >> 28 & 1))
mkdir "$m/a"
# shellcheck disable=SC2086 # one word a case
cases "$m/a" $all

if [ "$how" = passed ]; then
	before=$(counter fuse_requests)
	head -c 67108864 /dev/urandom >"$m/big"
	after=$(counter fuse_requests)
	check "64 MiB are written without the daemon: $((after - before))" \
	    test $((after - before)) -lt 50
	cat "$m/big" >"$T/big"
	check "and are what was read" cmp "$m/big" "$T/big"
fi

# What stays open while it is synced, and after.
exec 7>"$m/open"
head -c 3000000 /dev/urandom >&7
check "sync with an open file" "$GNSFS" sync "$m"
head -c 100000 /dev/zero >&7
sums "$m" >"$T/sums"
exec 7>&-
stop_mount "$m"
start_mount "$url" "$T/again" lag=200ms
sums "$T/again" >"$T/sums.again"
check "another mount has the same bytes" diff "$T/sums" "$T/sums.again"
stop_mount "$T/again"

# kill -9 while files are open and written: what was written is there (F2).
start_mount "$url" "$m" lag=200ms
mkdir "$m/k"
exec 7>"$m/k/large" 8>"$m/k/small" 9>"$m/k/synced"
head -c 5000000 /dev/urandom >"$T/large"
head -c 5000 /dev/urandom >"$T/small"
cat "$T/large" >&7
cat "$T/small" >&8
cat "$T/large" >&9
check "sync before the kill" "$GNSFS" sync "$m"
cat "$T/small" >&9
cat "$T/large" "$T/small" >"$T/synced"
kill_mount "$m"
exec 7>&- 8>&- 9>&-
start_mount "$url" "$m" lag=200ms
for name in large small synced; do
	check "after kill -9 $name is whole" cmp "$m/k/$name" "$T/$name"
done
check "fsck" "$GNSFS" fsck "$m"
sums "$m" >"$T/sums"
stop_mount "$m"
start_mount "$url" "$T/third" lag=200ms
sums "$T/third" >"$T/sums.again"
check "and stored so" diff "$T/sums" "$T/sums.again"
stop_mount "$T/third"

# A process that outlives the daemon goes on writing where it wrote, by a
# descriptor or a mapping; what it writes is kept, and stored in the end (F2).
# survivor NAME SIZE open|mapped
survivor()
{
	python3 "$TOP/test/mounted/pass.py" survive "$m/k" "$how" \
	    "$1" "$2" "$3" "$T/go.$1" &
	eval "pid_$1=$!"
	wait_for 10 test -e "$T/go.$1.ready" || bail "no survivor"
	python3 -c 'import sys
size = int(sys.argv[1])
end = b"end" if sys.argv[2] == "open" else b""
sys.stdout.buffer.write(b"b" + b"a" * (size - 1) + end)' \
	    "$2" "$3" >"$T/want.$1"
}

if [ "$how" = passed ]; then
	start_mount "$url" "$m" lag=200ms
	survivor s1 5000 open
	survivor s2 5000 mapped
	survivor s3 3000000 open
	survivor s4 3000000 mapped
	kill_mount "$m"
	start_mount "$url" "$m" lag=200ms
	check "sync while others write on" "$GNSFS" sync "$m" --timeout 60
	for i in 1 2 3 4; do
		: >"$T/go.s$i"
		eval "wait \$pid_s$i"
	done
	sleep 1
	check "sync when they are gone" "$GNSFS" sync "$m" --timeout 60
	for i in 1 2 3 4; do
		check "survivor $i wrote this" cmp "$m/k/s$i" "$T/want.s$i"
	done
	stop_mount "$m"
	start_mount "$url" "$T/fourth" lag=200ms
	for i in 1 2 3 4; do
		check "and it is stored" cmp "$T/fourth/k/s$i" "$T/want.s$i"
	done
	stop_mount "$T/fourth"
fi

# One whose writes the daemon sees may keep the file when it is killed: what he
# wrote is there, and no more than that is stored again (F1); who joined and
# changed nothing yet does so later, and that is stored (C2).
if [ "$how" = passed ]; then
	start_mount "$url" "$m" lag=200ms
	head -c 20000000 /dev/urandom >"$T/seen"
	head -c 1000000 /dev/urandom >"$T/joined"
	cp "$T/seen" "$T/joined" "$m/k"
	check "sync of a large file" "$GNSFS" sync "$m"
	sent=$(du -sb "$STORE/data" | cut -f1)
	python3 "$TOP/test/mounted/pass.py" seen_survive "$m/k" "$how" \
	    seen "$T/go.seen" joined &
	pid_seen=$!
	wait_for 10 test -e "$T/go.seen.ready" || bail "no survivor"
	printf middle |
	    dd of="$T/seen" bs=1 seek=2097152 conv=notrunc 2>"$T/out"
	printf end >>"$T/seen"
	kill_mount "$m"
	start_mount "$url" "$m" lag=200ms
	check "what was seen is there" cmp "$m/k/seen" "$T/seen"
	check "sync beside who has it open still" "$GNSFS" sync "$m" \
	    --timeout 60
	sent=$(($(du -sb "$STORE/data" | cut -f1) - sent))
	check "stores that alone: $sent" test $((sent / 8000000)) = 0
	: >"$T/go.seen"
	check "who has it open finds that it is over" wait "$pid_seen"
	printf '!' | dd of="$T/joined" bs=1 conv=notrunc 2>"$T/out"
	sleep 1
	check "sync when he is gone" "$GNSFS" sync "$m" --timeout 60
	stop_mount "$m"
	start_mount "$url" "$T/fifth" lag=200ms
	check "what was seen is stored" cmp "$T/fifth/k/seen" "$T/seen"
	check "and what was not" cmp "$T/fifth/k/joined" "$T/joined"
	stop_mount "$T/fifth"
fi

# Near the limit of the cache nothing new is written unseen (F6).
tight=$how
how="off"
start_mount "$url" "$T/tight" lag=200ms,cache_size=200M
head -c 10000000 /dev/urandom >"$T/tight/x"
how=$tight
cases "$T/tight" tight
how="off"
check_eq "a small cache passes no new file" 0 \
    "$(counter opens_passed "$T/tight")"
stop_mount "$T/tight"
if [ "$tight" = passed ]; then
	how=passed
	start_mount "$url" "$T/edge" lag=200ms,cache_size=1G
	cases "$T/edge" edge
	stop_mount "$T/edge"
	how="off"
fi

start_mount "$url" "$m" lag=200ms,passthrough=off
mkdir "$m/b"
[ -z "${GNSFS_TEST_SHORT:-}" ] ||
    all="growing times copy joined reopened mapped_late mapped_synced private
    storm"
# shellcheck disable=SC2086 # one word a case
cases "$m/b" $all
check_eq "and passed none" 0 "$(counter opens_passed)"
sums "$m" >"$T/sums"
stop_mount "$m"
start_mount "$url" "$T/last" lag=200ms
sums "$T/last" >"$T/sums.again"
check "the last mount has the same bytes" diff "$T/sums" "$T/sums.again"
check "fsck of it" "$GNSFS" fsck "$T/last"
stop_mount "$T/last"
finish
