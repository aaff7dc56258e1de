# boot.sh: a host that went down without warning (another boot id, bytes on
# disk torn): what was synced is there, what was not never takes the place of
# what is stored, a torn chunk is found and fetched again (C4, L11); and a byte
# that rots on disk is found by pin --wait, reboot or not.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m
boot=0
opts=
format_home "$url" --name boot

# up: a mount after a boot.  down: a power cut.
up()
{
	boot=$((boot + 1))
	GNSFS_SYS_BOOT_ID=$(printf '%08d-0000-4000-8000-000000000000' $boot)
	export GNSFS_SYS_BOOT_ID
	start_mount "$url" "$m" "lag=200ms,debug,log=$T/boot$boot.log$opts"
}

down()
{
	kill_mount "$m"
}

random()
{
	head -c "$2" /dev/urandom >"$1"
}

# backing INO: the file that holds its bytes.
backing()
{
	python3 - "$T/cache.m" "$1" <<-'END'
		import glob, os, shutil, sqlite3, sys, tempfile
		top, ino = sys.argv[1], int(sys.argv[2])
		copy = tempfile.TemporaryDirectory()	# a mount has it alone
		for end in ("", "-wal"):
		    if os.path.exists(f"{top}/state.db{end}"):
		        shutil.copy(f"{top}/state.db{end}", copy.name)
		db = sqlite3.connect(f"{copy.name}/state.db")
		slot, = db.execute("SELECT slot FROM c_file WHERE ino = ?",
		    (ino,)).fetchone()
		found = glob.glob(f"{top}/pool/{slot:x}" if slot is not None
		    else f"{top}/data/*/{ino:x}.*")
		print(found[0] if found else
		    sys.exit(f"inode {ino:x}, slot {slot}"))
	END
}

# damage INO OFFSET LENGTH: bytes of its backing file become others, its times
# stay.
damage()
{
	_file=$(backing "$1") || bail "inode $1 has no backing file"
	python3 - "$_file" "$2" "$3" <<-'END'
		import os, sys
		name, off, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		st = os.stat(name)
		fd = os.open(name, os.O_RDWR)
		old = os.pread(fd, n, off)
		os.pwrite(fd, bytes(b ^ 0xff for b in old), off)
		os.fsync(fd)
		os.close(fd)
		os.utime(name, ns=(st.st_atime_ns, st.st_mtime_ns))
	END
}

drop_pages()
{
	sync
	echo 1 >/proc/sys/vm/drop_caches
}

ino()
{
	stat -c %i "$m/$1"
}

cached()
{
	getfattr --only-values --absolute-names -n user.gnsfs.cached "$m/$1"
}

log_says()
{
	grep -q "$1" "$T/boot$boot.log"
}

# --- a byte rots under a running daemon ---
up
random "$T/rot" 5000001
cp "$T/rot" "$m/rot"
check "sync" "$GNSFS" sync "$m" --timeout 20
check "pin --wait" "$GNSFS" pin "$m/rot" --wait
damage "$(ino rot)" 2500000 1
check "pin --wait again" "$GNSFS" pin "$m/rot" --wait
check "it found the byte" log_says damaged
drop_pages
check "and healed it" cmp "$T/rot" "$m/rot"
check "on disk" cmp "$T/rot" "$(backing "$(ino rot)")"
check_eq "all of it is here" 100 "$(cached rot)"

# --- a chunk is torn by a power cut ---
random "$T/torn" 5000002
cp "$T/torn" "$m/torn"
check "sync" "$GNSFS" sync "$m" --timeout 20
i=$(ino torn)
sleep 3				# the index is saved lazily
down
damage "$i" 1048576 4096
damage "$i" 4999000 1000
up
check "a torn file is whole when it is read" cmp "$T/torn" "$m/torn"
check "its chunks were found" log_says damaged
check "and are right on disk" sh -c "'$GNSFS' pin '$m/torn' --wait &&
    cmp '$T/torn' '$(backing "$i")'"

# --- the same without a boot: nothing needs checking, all is there ---
down
start_mount "$url" "$m" "lag=200ms,log=$T/again.log"
check "after a mere crash it is whole" cmp "$T/torn" "$m/torn"

# --- what was synced ---
for f in stored over open closed both; do
	random "$T/$f" 4000000
	cp "$T/$f" "$m/$f"
done
check "sync" "$GNSFS" sync "$m" --timeout 20
random "$T/patch" 100000
mv "$T/stores/home" "$T/stores/away"	# nothing is uploaded from here on

# put FILE OFFSET FSYNC: $T/patch into it, there and here.
put()
{
	dd if="$T/patch" of="$m/$1" bs=50000 seek=$(($2 / 50000)) \
	    conv=notrunc${3:+,fsync} 2>/dev/null
}

random "$T/new.large" 3000000
random "$T/new.small" 9000
dd if="$T/new.large" of="$m/new.large" bs=1M conv=fsync 2>/dev/null
dd if="$T/new.small" of="$m/new.small" bs=1M conv=fsync 2>/dev/null
put stored 1000000 fsync
dd if="$T/patch" of="$T/stored" bs=50000 seek=20 conv=notrunc 2>/dev/null
check "fsync of a change" cmp "$T/stored" "$m/stored"

# --- what was not ---
put closed 1000000
random "$T/over.new" 3500000
cp "$T/over.new" "$m/over.tmp"
mv "$m/over.tmp" "$m/over"		# L11: synced before its name counts
cat >"$T/hold.py" <<'END'
import os, sys, time
m, patch, half = sys.argv[1:4]
fd = os.open(m + "/open", os.O_RDWR)
os.pwrite(fd, open(patch, "rb").read(), 2000000)
both = os.open(m + "/both", os.O_RDWR)
os.pwrite(both, b"synced", 1000000)
os.fsync(both)
os.pwrite(both, b"not", 3000000)
data = open(half, "rb").read()
new = os.open(m + "/half", os.O_RDWR | os.O_CREAT)
os.write(new, data[:1500000])
os.fsync(new)
os.write(new, data[1500000:])
each = os.open(m + "/each", os.O_RDWR | os.O_CREAT | os.O_DSYNC)
os.write(each, data)
print("ready", flush=True)
time.sleep(600)
END
random "$T/half" 3000000
spawn python3 "$T/hold.py" "$m" "$T/patch" "$T/half" >"$T/hold.out"
hold=$!
wait_for 20 grep -q ready "$T/hold.out" || bail "nobody holds the files open"
iopen=$(ino open)
iclosed=$(ino closed)
ihalf=$(ino half)
down
kill $hold
damage "$iopen" 2000000 100000
damage "$iclosed" 1000000 100000
damage "$ihalf" 2000000 500000
mv "$T/stores/away" "$T/stores/home"
up
check "a new large file that was fsynced" cmp "$T/new.large" "$m/new.large"
check "a new small one" cmp "$T/new.small" "$m/new.small"
check "a change that was fsynced" cmp "$T/stored" "$m/stored"
check "a change that was not, of a file that was open, is none" \
    cmp "$T/open" "$m/open"
check_eq "a change that was fsynced stays, whatever was written later" synced \
    "$(dd if="$m/both" bs=1 skip=1000000 count=6 2>/dev/null)"
check "nor of one that was closed" cmp "$T/closed" "$m/closed"
check "a file that replaced another is whole" cmp "$T/over.new" "$m/over"
head -c 1500000 "$T/half" >"$T/half.synced"
check "a new file is as long as was fsynced" cmp "$T/half.synced" "$m/half"
check "one that was synced by each write is whole" cmp "$T/half" "$m/each"
sums "$m" >"$T/sums"
check "sync" "$GNSFS" sync "$m" --timeout 20
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
start_mount "$url" "$m" "cache=$T/fresh"
sums "$m" | diff "$T/sums" - >"$T/diff"
check "the same on a fresh host" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"
stop_mount "$m"

# --- a power cut of a disk: what it had got by then, and nothing else ---
# cut NAME: the disk as it is now becomes $T/NAME; a file that nobody synced,
# written just before, says whether it is one.  The daemon is stopped: what it
# told the store after it would be of another time.
cut()
{
	cp "$T/half" "$T/d/unsynced.$1"
	kill -STOP "$(mount_pid "$m")"
	cp --sparse=always "$image" "$T/$1"
}

# after NAME: a host that comes up with that disk.
after()
{
	mount -o loop "$T/$1" "$T/d" || bail "the disk cannot be mounted"
	check_fails "$1: it was cut off" cmp "$T/half" \
	    "$T/d/unsynced.$1"
	up
}

# write N FILE...: new files; of each its name, its size, how much of it is
# fsynced before the rest is written (0: nothing), and whether it is closed, or
# renamed to which NAME, whose directory is fsynced then.
cat >"$T/write.py" <<'END'
import os, sys, time
m, source, *files = sys.argv[1:]
data = open(source, "rb").read()
for name, size, synced, *end in (x.split() for x in files):
    size, synced = int(size), int(synced)
    os.makedirs(os.path.dirname(f"{m}/{name}"), exist_ok=True)
    fd = os.open(f"{m}/{name}", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, data[:synced])
    if synced > 0:
        os.fsync(fd)
    os.write(fd, data[synced:size])
    if end == ["close"]:
        os.close(fd)
    elif end:
        os.rename(f"{m}/{name}", f"{m}/{end[0]}")
        os.fsync(os.open(os.path.dirname(f"{m}/{end[0]}"), os.O_RDONLY))
print("ready", flush=True)
time.sleep(600)
END
write()
{
	_ready=$T/write.$1
	shift
	spawn python3 "$T/write.py" "$m" "$T/half" "$@" >"$_ready"
	writers="$writers $!"
	wait_for 20 grep -q ready "$_ready" || bail "nobody writes"
}

is_passed()
{
	"$GNSFS" explain "$m/$1" | grep -q "kernel: passthrough"
}

# synced NAME SIZE: so much of it is there, and no more.
synced()
{
	head -c "$2" "$T/half" | cmp - "$m/$1"
}

url=$(store_url file cut)
opts=,cache=$T/d/c,cache_size=1G
writers=
format_home "$url" --name cut
disk "$T/d" 512M
device=$(findmnt -no SOURCE "$T/d")
image=$(cat "/sys/block/${device##*/}/loop/backing_file")
mount -o remount,commit=600 "$T/d" || bail "no disk that waits"
up
# one at a time: what is synced last syncs the database for all before it
write 1 "none 3000000 0" "first/large 3000000 3000000"
cut large
kill -CONT "$(mount_pid "$m")"
write 2 "none2 3000000 0" "second/small 9000 9000"
cut small
kill -CONT "$(mount_pid "$m")"
write 3 "dir/kept 100000 100000" "late.tmp 3000000 0 dir/late"
cut named
kill -CONT "$(mount_pid "$m")"
write 4 "grown 3000000 1500000" "closed 3000000 3000000 close" \
    "third/cut 200000 100000"
if [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ]; then
	for f in first/large second/small grown third/cut; do
		check "$f is passed" is_passed $f
	done
fi
cut grown
mv "$T/stores/cut" "$T/stores/away"
down
# shellcheck disable=SC2086 # one word a process
kill $writers
umount -l "$T/d"
after large
check "a large file is there after its fsync" synced first/large 3000000
check "one that was not synced has nothing" synced none 0
down
umount -l "$T/d"
after small
check "a small one" synced second/small 9000
check "and the large one" synced first/large 3000000
down
umount -l "$T/d"
after named
check "one that has its name since an fsync of the directory" \
    synced dir/late 3000000
check_fails "  not the one before" ls "$m/late.tmp"
down
umount -l "$T/d"
mv "$T/stores/away" "$T/stores/cut"
after grown
check "one that grew is as long as it was then" synced grown 1500000
check "one that was closed" synced closed 3000000
check "another that grew" synced third/cut 100000
check "and the small one" synced second/small 9000
sums "$m" >"$T/sums"
check "sync" "$GNSFS" sync "$m" --timeout 20
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
umount "$T/d"
start_mount "$url" "$m" "cache=$T/fresh.cut"
sums "$m" | diff "$T/sums" - >"$T/diff"
check "the same on a fresh host" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"
stop_mount "$m"
finish
