# basic.sh: the filesystem on a store that is a folder: what is written is
# read, by this mount, by the next one with the same state, and by one that
# starts from nothing but the store.

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m

# bytes N SEED: N bytes, always the same ones.
bytes()
{
	python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(int(sys.argv[2])).randbytes(
    int(sys.argv[1])))' "$1" "$2"
}

# The names, types, modes, owners, sizes, times and link texts below a folder.
names()
{
	(cd "$1" && find . -mindepth 1 -printf '%P %y %m %U %G %n %T@ %l ' \
	    \( -type d -printf '\n' -o -printf '%s\n' \) | LC_ALL=C sort)
}

check "format makes a namespace" "$GNSFS" format "$url" --name basic
check_rc 1 "a second format is refused" "$GNSFS" format "$url"
check_says "and says that there is one" "basic|already|namespace"
check_rc 1 "format of a folder that is missing fails" \
    "$GNSFS" format "file://$T/stores/absent"
check_rc 2 "no subcommand is misuse" "$GNSFS"
check_rc 2 "an unknown one too" "$GNSFS" frobnicate
check_rc 1 "mount without a home fails" \
    try_mount "$(store_url file empty)" "$T/none"
check_says "and says how to make one" "format"
start_mount "$url" "$m"

# --- files ---
check "an empty file" touch "$m/empty"
bytes 5 1 >"$T/five"
bytes 65536 2 >"$T/small"
bytes 65537 3 >"$T/edge"
bytes 9000001 4 >"$T/large"
for f in five small edge large; do
	check "$f is written" cp "$T/$f" "$m/$f"
	check "$f is read" cmp "$T/$f" "$m/$f"
done
check_eq "an empty file is empty" 0 "$(stat -c %s "$m/empty")"
check_eq "sizes" 9000001 "$(stat -c %s "$m/large")"

# --- changes in place ---
check "append" sh -c "cat '$T/five' >>'$m/small'"
cat "$T/small" "$T/five" >"$T/small.appended"
check "what was appended is there" cmp "$T/small.appended" "$m/small"
check "append to a large file" sh -c "cat '$T/edge' >>'$m/large'"
cat "$T/large" "$T/edge" >"$T/large.appended"
check "what was appended is there too" cmp "$T/large.appended" "$m/large"
check "shrink" truncate -s 1000 "$m/edge"
head -c 1000 "$T/edge" >"$T/edge.shrunk"
check "what is left is right" cmp "$T/edge.shrunk" "$m/edge"
check "grow" truncate -s 200000 "$m/edge"
truncate -s 200000 "$T/edge.shrunk"
check "what came are zeros" cmp "$T/edge.shrunk" "$m/edge"
for d in "$T/large.appended" "$m/large"; do
	dd if="$T/small" of="$d" bs=4096 seek=500 count=3 conv=notrunc \
	    2>/dev/null
done
check "overwritten in the middle" cmp "$T/large.appended" "$m/large"
cp "$T/five" "$m/over"
check "a file is truncated and written again" cp "$T/small" "$m/over"
check "with the new bytes" cmp "$T/small" "$m/over"
check "an unlinked open file is written and read" python3 -c '
import os, sys
f = open(sys.argv[1], "w+b")
f.write(b"before")
f.flush()
os.unlink(sys.argv[1])
f.write(b" and after")
f.flush()
assert os.fstat(f.fileno()).st_nlink == 0
f.seek(0)
assert f.read() == b"before and after"' "$m/gone"
check_fails "and is gone" stat "$m/gone"
check "a file with a hole" truncate -s 50M "$m/hole"
check "bytes far in it" sh -c "printf x | dd of='$m/hole' bs=1 \
    seek=40000000 conv=notrunc"
check_eq "and they are there" x \
    "$(dd if="$m/hole" bs=1 skip=40000000 count=1 2>/dev/null)"
check_eq "zeros around them" 0 "$(dd if="$m/hole" bs=1 skip=39999990 \
    count=10 2>/dev/null | tr -d '\0' | wc -c)"

# --- names ---
check "mkdir -p" mkdir -p "$m/a/b/c"
check "rename" mv "$m/five" "$m/a/b/five"
check_fails "the old name is gone" stat "$m/five"
check "the new one is not" cmp "$T/five" "$m/a/b/five"
cp "$T/small" "$m/victim"
check "rename over a file" mv -T "$m/a/b/five" "$m/victim"
check "which it replaces" cmp "$T/five" "$m/victim"
check "rename of a directory" mv "$m/a/b" "$m/b"
check_fails "a directory cannot be moved into itself" mv "$m/b" "$m/b/c/d"
check "unlink" rm "$m/victim"
check_fails "is gone" stat "$m/victim"
touch "$m/b/full"
check_fails "rmdir of what is not empty" rmdir "$m/b"
check "rmdir of what is" rmdir "$m/b/c"
check "hard link" ln "$m/edge" "$m/b/edge2"
check_eq "two links" 2 "$(stat -c %h "$m/edge")"
check_eq "one inode" "$(stat -c %i "$m/edge")" "$(stat -c %i "$m/b/edge2")"
check "written through one" sh -c "echo tail >>'$m/b/edge2'"
check "read through the other" cmp "$m/edge" "$m/b/edge2"
cp "$T/five" "$m/once"
ln "$m/once" "$m/twice"
rm "$m/once"
check "the other name stays when one goes" cmp "$T/five" "$m/twice"
check_eq "with one link" 1 "$(stat -c %h "$m/twice")"
check "symbolic link" ln -s ../edge "$m/b/sym"
check_eq "says where it points" ../edge "$(readlink "$m/b/sym")"
check "and is followed" cmp "$m/edge" "$m/b/sym"
check "fifo" mkfifo "$m/fifo"
check_eq "is one" fifo "$(stat -c %F "$m/fifo")"
odd="$m/$(printf 'od d\t\\ \001\303\251')"
check "odd names" touch "$odd"
check "are found again" stat "$odd"
long=$(printf '%0255d' 0)
check "a name of 255 bytes" touch "$m/$long"
check_fails "not one of 256" touch "$m/1$long"

# --- attributes ---
check "chmod" chmod 2751 "$m/b"
check_eq "mode" 2751 "$(stat -c %a "$m/b")"
check "chown" chown 12:34 "$m/twice"
check_eq "owner" 12:34 "$(stat -c %u:%g "$m/twice")"
check "times" touch -d '2001-02-03 04:05:06.789012345 UTC' "$m/twice"
check_eq "to the nanosecond" 981173106.789012345 \
    "$(stat -c %.9Y "$m/twice")"
check "a time that is far beyond" touch -d @9999999999 "$m/far"
check_eq "is the last one there is" 9223372036 "$(stat -c %Y "$m/far")"
check "an xattr" setfattr -n user.color -v green "$m/twice"
check "and another" setfattr -n user.shape -v round "$m/twice"
check_eq "value" green "$(getfattr --only-values -n user.color \
    --absolute-names "$m/twice")"
check "removed" setfattr -x user.shape "$m/twice"
check_eq "the list" user.color "$(getfattr --absolute-names "$m/twice" |
    grep '^user')"
check_eq "virtual ones answer" 100 "$(getfattr --only-values \
    -n user.gnsfs.cached --absolute-names "$m/empty")"
check_fails "an absent one does not" getfattr -n user.none "$m/twice"

# --- many ---
mkdir "$m/many"
check "a thousand small files" python3 -c '
import sys
for i in range(1000):
    with open(f"{sys.argv[1]}/{i:04}", "w") as f:
        f.write(f"file {i}\n" * (i % 50))' "$m/many"
check_eq "all listed" 1000 "$(ls "$m/many" | wc -l)"
check "every third removed" sh -c "cd '$m/many' && rm ???0 ???3 ???6 ???9"
check_eq "the rest listed" 600 "$(ls "$m/many" | wc -l)"
check "cp -a of a tree" cp -a "$m/many" "$m/copy"
check "is the same" diff -r "$m/many" "$m/copy"

# --- stored, and there again ---
check "sync" "$GNSFS" sync "$m"
check_eq "status has nothing left" 0 "$("$GNSFS" status "$m" --json \
    >"$T/status" && json "$T/status" 'j["pending"]["ops"]')"
names "$m" >"$T/names"
sums "$m" >"$T/sums"
check_eq "files to compare" 1212 "$(wc -l <"$T/sums")"
check "fsck finds one digest" "$GNSFS" fsck "$m"

# what_is_there WHICH: it is what it was.
what_is_there()
{
	names "$m" | diff "$T/names" - >"$T/names.diff"
	check "the tree is the same, $1" sh -c \
	    "head -20 '$T/names.diff'; [ ! -s '$T/names.diff' ]"
	sums "$m" | diff "$T/sums" - >"$T/sums.diff"
	check "and every byte, $1" sh -c \
	    "head -20 '$T/sums.diff'; [ ! -s '$T/sums.diff' ]"
	check_eq "the xattr, $1" green "$(getfattr --only-values \
	    -n user.color --absolute-names "$m/twice")"
}

stop_mount "$m"
check_eq "nothing is mounted" "" "$(ls "$m")"
start_mount "$url" "$m"
what_is_there "with the same state"
check "a change before an unmount without sync" cp "$T/large" "$m/late"
stop_mount "$m"
rm -rf "$T/cache.m"
start_mount "$url" "$m"
check "is stored by the unmount" cmp "$T/large" "$m/late"
stop_mount "$m"
rm -rf "$T/cache.m"
GNSFS_FAULT=op=get,key=data/,delay=8000 start_mount "$url" "$m"
check "who copies what is not here yet can be killed" python3 -c '
import os, signal, sys, time
pid = os.fork()
if pid == 0:
    os.copy_file_range(os.open(sys.argv[1], os.O_RDONLY),
        os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT), 1 << 30)
    os._exit(0)
time.sleep(0.5)
begun = time.monotonic()
os.kill(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
took = time.monotonic() - begun
assert os.WTERMSIG(status) == signal.SIGKILL and took < 4, (status, took)
' "$m/late" "$m/later"
stop_mount "$m"
start_mount "$url" "$m"
rm "$m/late" "$m/later"
what_is_there "from nothing"
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
# --- told to end before it is up ---
for ms in 020 040 060 080 120; do
	"$GNSFS" mount -f "$url" "$m" -o "cache=$T/cache.m" >"$T/early" 2>&1 &
	early=$!
	sleep 0.$ms
	kill -TERM $early
	gone()
	{
		! kill -0 $early 2>/dev/null
	}
	check "a mount that is told to end after 0.$ms s does" wait_for 10 gone
	kill -KILL $early 2>/dev/null
	wait $early 2>/dev/null
	umount -l "$m" 2>/dev/null
done

check_eq "no sidecar files of another kind lie in the store" "" \
    "$(cd "$T/stores/home" && find . -type f ! -path './log/*' \
    ! -path './data/*' ! -path './snap/*' ! -path './piece/*' \
    ! -path './host/*' ! -name gnsfs.json ! -name MANIFEST)"
finish
