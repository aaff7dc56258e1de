# full.sh: full disks, a full cache, no descriptors, no inodes, a store over
# its quota: degraded as the manual says, recovered by itself, nothing lost.
# timeout: 600
#
# The disks are small ext4 filesystems on loop devices.  ONLY="a c" runs some
# of the cases.  Every call that is answered late is timed: the longest is
# printed, and its bound is io_timeout.

. "$(dirname "$0")/../lib.sh"
begin
command -v mkfs.ext4 >/dev/null || PATH=$PATH:/sbin:/usr/sbin
TIMEOUT=2			# seconds: io_timeout of these mounts
SLACK=4000			# ms, of a slow build on a busy machine
opts=lag=100ms,io_timeout=${TIMEOUT}s
py="python3 $TOP/test/mounted/full.py"
longest=0

wants()
{
	case " ${ONLY:-a b c d e f g h i j k} " in
	*" $1 "*)	return 0 ;;
	esac
	return 1
}

# The first word of $T/out is how many milliseconds a call took.
bounded()
{
	_ms=$(sed -n 's/^\([0-9][0-9]*\) .*/\1/p' "$T/out" | head -1)
	[ "${_ms:-0}" -le $longest ] || longest=$_ms
	check "$1: told within io_timeout (${_ms:-none} ms)" \
	    test "${_ms:-999999}" -le $((TIMEOUT * 1000 + SLACK))
}

# no_room NAME CMD...: fails with ENOSPC, within the bound.
no_room()
{
	_no=$1
	shift
	check "$_no: ENOSPC" $py fails "$@" && bounded "$_no"
}

# at_once NAME CMD...: is done within a second.
at_once()
{
	_at=$1
	shift
	_begun=$(now_ms)
	check "$_at" "$@"
	check "$_at: at once" test $(($(now_ms) - _begun)) -le $((SLACK))
}

fill()
{
	check "somebody fills the disk" $py fill "$1"
	say "free there: $(df --output=avail -k "${1%/*}" | tail -1) KiB"
}

# hold DIR COUNT SIZE: new files are written and stay open; let_go: closed.
# $T/held is their model then.
hold()
{
	rm -f "$T/held" "$T/ready" "$T/go"
	spawn $py hold "$T/held" "$1" h "$2" "$3" "$T/ready" "$T/go"
	holder=$!
	check "new files are open" wait_for 20 test -e "$T/ready"
}

let_go()
{
	touch "$T/go"
	wait $holder
	check_eq "  and are closed" 0 $?
}

# Percent of a file that is on this host.
cached()
{
	getfattr --absolute-names --only-values -n user.gnsfs.cached "$1"
}

# status_has NAME PATTERN DIR
status_has()
{
	"$GNSFS" status "$3" >"$T/out" 2>&1
	check_says "$1" "$2"
}

# A lake of COUNT files of SIZE, read-only, named as `put` names them.
lake()
{
	mkdir -p "$T/lake$1"
	$py put "$T/lake$1.model" "$T/lake$1" "l$1-" "$2" "$3"
}

# elsewhere URL MODEL DIR...: all of it on a host that has nothing.
elsewhere()
{
	_url=$1
	_model=$2
	_sub=$3
	start_mount "$_url" "$T/fresh" "cache=$T/fresh.cache,$opts"
	check "every byte, on a fresh host" $py check "$_model" "$T/fresh$_sub"
	say "$(tail -1 "$T/out")"
	check "fsck there" "$GNSFS" fsck "$T/fresh"
	stop_mount "$T/fresh"
	rm -rf "$T/fresh.cache"
}

# --- a: the cache's disk is full of somebody else's bytes ---
case_a()
{
	say "a: a full cache disk"
	disk "$T/da" 96M
	url=$(store_url file a)
	lake a 4 5000000
	format_home "$url" --name a
	start_mount "$url" "$T/a" "$opts,cache=$T/da/c,state=$T/sa"
	check "import" "$GNSFS" import "file://$T/lakea" "$T/a/lake"
	mkdir "$T/a/d"
	check "files are written" $py put "$T/ma" "$T/a/d" w 3 1500000
	check "small ones" $py put "$T/ma" "$T/a/d" s 20 3000
	check "sync" "$GNSFS" sync "$T/a"
	fill "$T/da/foreign"
	check "uncached files are read" $py check "$T/lakea.model" "$T/a/lake"
	check "and mapped" $py map "$T/a/lake/la-3" la-3 5000000
	check "and what was here" $py check "$T/ma" "$T/a/d"
	# else it is stored as it is written, in what room there is
	mv "$T/stores/a" "$T/stores/away"
	check_rc 3 "a write: ENOSPC" $py put "$T/ma" "$T/a/d" x 1 8000000
	bounded "a write"
	mv "$T/stores/away" "$T/stores/a"
	at_once "names can be made" mkdir "$T/a/d/sub"
	status_has "status says so" "disk.*full" "$T/a"
	at_once "a small file can be evicted" "$GNSFS" evict "$T/a/d/s3"
	check_eq "  it is gone from here" 0 "$(cached "$T/a/d/s3")"
	check "and is read" wait_for 20 $py check "$T/ma" "$T/a/d"
	# a writer that waits goes on when there is room
	spawn $py put "$T/ma2" "$T/a/d" z 1 3000000
	waiting=$!
	sleep 1
	rm "$T/da/foreign"
	wait $waiting
	check_eq "a write that waited went on" 0 $?
	check "all works again" $py put "$T/ma" "$T/a/d" v 3 3000000
	check "reads too" $py check "$T/lakea.model" "$T/a/lake"
	check "sync" "$GNSFS" sync "$T/a" --timeout 60
	cat "$T/ma2" >>"$T/ma"
	check "every byte is here" $py check "$T/ma" "$T/a/d"
	stop_mount "$T/a"
	elsewhere "$url" "$T/ma" /d
	umount "$T/da"
}

# --- b: the state's disk is full ---
case_b()
{
	say "b: a full state disk"
	disk "$T/db" 64M
	s3_bucket full-b
	url=$(s3_url full-b)
	o=$opts,state=$T/db/s,cache=$T/cb
	format_home "$url" --name b
	start_mount "$url" "$T/b" "$o"
	mkdir "$T/b/d" "$T/b/many"
	check "small files" $py put "$T/mb" "$T/b/d" s 40 3000
	check "many more" $py put "$T/mb.many" "$T/b/many" m 300 1000 \
	    nosync
	check "large ones" $py put "$T/mb" "$T/b/d" g 4 1500000
	check "sync" "$GNSFS" sync "$T/b"
	# a new start: the database's files are as small as they can be
	stop_mount "$T/b"
	start_mount "$url" "$T/b" "$o"
	s3_kill
	check "and some that are not stored" $py put "$T/mb" "$T/b/d" t 20 9000
	check "a large one" $py put "$T/mb" "$T/b/d" u 1 2500000
	fill "$T/db/foreign"
	no_room "a create" touch "$T/b/d/new"
	no_room "a mkdir" mkdir "$T/b/d/dir"
	check_rc 3 "a write: ENOSPC" $py put "$T/none" "$T/b/d" n 1 4000
	bounded "a write"
	status_has "status says so" "disk.*full" "$T/b"
	check "reads work" $py check "$T/mb" "$T/b/d"
	at_once "unlink works" rm "$T/b/d/s0" "$T/b/d/s1" "$T/b/d/t0"
	$py gone "$T/mb" s0 s1 t0
	at_once "hundreds of times" sh -c "rm '$T'/b/many/m[12]*"
	at_once "rename works" mv "$T/b/d/s2" "$T/b/d/renamed"
	mv "$T/b/d/renamed" "$T/b/d/s2"
	at_once "evict works" "$GNSFS" evict "$T/b/d/g0"
	check_eq "  it is gone from here" 0 "$(cached "$T/b/d/g0")"
	$py gone "$T/mb" g0
	kill_mount "$T/b"
	start_mount "$url" "$T/b" "$o"
	check "after kill -9: what was synced is here" \
	    $py check "$T/mb" "$T/b/d"
	fill "$T/db/foreign"
	at_once "unlink still works" rm "$T/b/d/s3"
	$py gone "$T/mb" s3
	no_room "a create still does not" touch "$T/b/d/new"
	check_rc 1 "an unmount says what is queued" "$GNSFS" umount "$T/b" \
	    --timeout 1
	rm -f "$(_slot "$T/b")"
	start_mount "$url" "$T/b" "$o"
	check "mounted again, it is here" $py check "$T/mb" "$T/b/d"
	fill "$T/db/foreign"
	at_once "unlink works" rm "$T/b/d/s4"
	$py gone "$T/mb" s4
	s3_start "$T/s3" "$S3_PORT" || bail "the store does not come back"
	check "sync, on a full disk" "$GNSFS" sync "$T/b" --timeout 60
	echo g0 1500000 >>"$T/mb"
	check "it is read again" $py check "$T/mb" "$T/b/d"
	rm "$T/db/foreign"
	check "with room all works again" wait_for 10 touch "$T/b/d/new"
	check "writes too" $py put "$T/mb" "$T/b/d" v 5 2000000
	check "sync" "$GNSFS" sync "$T/b" --timeout 60
	# more than wait to be settled at once, and it cannot be recorded
	hold "$T/b/d" 400 20000
	fill "$T/db/foreign"
	let_go
	sleep 1
	check "closed on a full disk, they are as they were" \
	    $py check "$T/held" "$T/b/d"
	rm "$T/db/foreign"
	cat "$T/held" >>"$T/mb"
	check "with room they are stored" "$GNSFS" sync "$T/b" --timeout 60
	check "every byte is here" $py check "$T/mb" "$T/b/d"
	stop_mount "$T/b"
	elsewhere "$url" "$T/mb" /d
	umount "$T/db"
}

# --- c: cache_size is reached by what is not stored ---
case_c()
{
	say "c: dirty bytes fill the cache"
	s3_bucket full-c
	url=$(s3_url full-c)
	format_home "$url" --name c
	start_mount "$url" "$T/c" "$opts,cache_size=16M"
	mkdir "$T/c/d"
	check "a file" $py put "$T/mc" "$T/c/d" a 1 1000000
	check "sync" "$GNSFS" sync "$T/c"
	s3_kill
	check_rc 3 "in the end, ENOSPC" $py put "$T/mc" "$T/c/d" b 40 1000000
	bounded "a write"
	say "written before: $(wc -l <"$T/mc") MB"
	$py put "$T/none" "$T/c/d" k 1 3000000 >"$T/killed" 2>&1 &
	writer=$!
	sleep 0.5
	at_once "names go on meanwhile" mkdir "$T/c/d/meanwhile"
	grep '^b' "$T/mc" >"$T/mc.dirty"	# a0 was clean, and made way
	at_once "reads too" $py check "$T/mc.dirty" "$T/c/d"
	kill -9 $writer
	begun=$(now_ms)
	wait $writer 2>/dev/null
	check "a writer that waits can be killed" \
	    test $(($(now_ms) - begun)) -lt 1500
	status_has "status says what waits" "not stored yet: writes wait" "$T/c"
	$py put "$T/mc" "$T/c/d" w 1 1000000 >"$T/waited" 2>&1 &
	writer=$!
	sleep 0.5
	s3_start "$T/s3" "$S3_PORT" || bail "the store does not come back"
	wait $writer
	rc=$?
	say "a write during the outage: status $rc $(cat "$T/waited")"
	check "writes go on" wait_for 30 $py put "$T/mc.more" "$T/c/d" m 6 \
	    4000000
	check "all of them" $py check "$T/mc.more" "$T/c/d"
	check "sync" "$GNSFS" sync "$T/c" --timeout 60
	cat "$T/mc.more" >>"$T/mc"
	check "every byte is here" $py check "$T/mc" "$T/c/d"
	stop_mount "$T/c"
	elsewhere "$url" "$T/mc" /d
}

# --- d: cache_size is reached by what is clean ---
case_d()
{
	say "d: clean bytes fill the cache"
	s3_bucket full-d
	s3_bucket lake-d
	url=$(s3_url full-d)
	lake d 8 5000000
	head -c 30000000 /dev/urandom >"$T/laked/large"
	cp "$T/laked"/* "$S3_DIR/objects/lake-d/"
	format_home "$url" --name d
	start_mount "$url" "$T/d" "$opts,cache_size=16M"
	check "import" "$GNSFS" import "$(s3_url lake-d)" "$T/d/lake"
	check "readers go on" $py check "$T/laked.model" "$T/d/lake"
	check "a pin" "$GNSFS" pin "$T/d/lake/ld-1" "$T/d/lake/ld-2" --wait \
	    --name two
	check "readers go on" $py check "$T/laked.model" "$T/d/lake"
	check "readers go on" $py check "$T/laked.model" "$T/d/lake"
	for n in 1 2; do
		check_eq "what is pinned is never evicted" 100 \
		    "$(cached "$T/d/lake/ld-$n")"
	done
	"$GNSFS" status "$T/d" --json >"$T/before"
	check_fails "a pin larger than the room" "$GNSFS" pin \
	    "$T/d/lake/**" --name all
	check_says "  says so" "reserve|No space"
	"$GNSFS" status "$T/d" --json >"$T/after"
	check_eq "  before a byte moved" \
	    "$(json "$T/before" "j['counters']['fill_bytes']")" \
	    "$(json "$T/after" "j['counters']['fill_bytes']")"
	check_eq "  and is not kept" 1 "$("$GNSFS" pins -n d --json |
	    python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')"
	# what a full cache costs: all of it is pinned or too large
	check "a third pin" "$GNSFS" pin "$T/d/lake/ld-3" --wait --name three
	was=$(json "$T/after" "j['counters']['store_bytes_in']")
	check "a file with no room for it" cmp "$T/laked/large" \
	    "$T/d/lake/large"
	"$GNSFS" status "$T/d" --json >"$T/after"
	now=$(json "$T/after" "j['counters']['store_bytes_in']")
	say "fetched for 5 and 30 MB: $((now - was)) bytes"
	check "it is fetched about once" test $((now - was)) -lt 50000000
	check "and counted" test $((now - was)) -ge 30000000
	stop_mount "$T/d"
}

# --- e: descriptors ---
case_e()
{
	say "e: open files"
	url=$(store_url file e)
	lake e 400 100000
	format_home "$url" --name e
	ulimit -Sn 200
	start_mount "$url" "$T/e" "$opts"
	pid=$(mount_pid "$T/e")
	check_eq "the soft limit is the hard one" \
	    "$(awk '/Max open files/ { print $5 }' "/proc/$pid/limits")" \
	    "$(awk '/Max open files/ { print $4 }' "/proc/$pid/limits")"
	check "import" "$GNSFS" import "file://$T/lakee" "$T/e/lake"
	stop_mount "$T/e"
	(
		ulimit -n 256
		try_mount "$url" "$T/e" "$opts"
	) >"$T/out" 2>&1 || { show_out; bail "a mount with 256 descriptors"; }
	check "400 files at once, of 256 descriptors" $py many "$T/e/lake" 400
	say "$(tail -1 "$T/out")"
	check "then each" $py check "$T/lakee.model" "$T/e/lake"
	pid=$(mount_pid "$T/e")
	check "fewer, while it runs" prlimit --pid "$pid" --nofile=120:256
	check "400 files at once" $py many "$T/e/lake" 400
	say "$(tail -1 "$T/out")"
	check "status is answered" "$GNSFS" status "$T/e"
	check "more again" prlimit --pid "$pid" --nofile=256:256
	check "each" wait_for 10 $py check "$T/lakee.model" "$T/e/lake"
	mkdir "$T/e/d"
	check "files can be written" $py put "$T/me" "$T/e/d" w 50 100000
	[ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -lt 6009 ] ||
	    check "with one descriptor or none files are not passed, but work" \
	    $py short "$T/e" le- 100000 "$pid" "$GNSFS"
	say "$(tail -1 "$T/out")"
	hold "$T/e/d" 40 100000
	check "no descriptor" prlimit --pid "$pid" --nofile=4:256
	let_go
	check "some again" prlimit --pid "$pid" --nofile=256:256
	check "closed without a descriptor, they are here" wait_for 10 \
	    $py check "$T/held" "$T/e/d"
	cat "$T/held" >>"$T/me"
	check "sync" "$GNSFS" sync "$T/e" --timeout 60
	check "each" $py check "$T/me" "$T/e/d"
	stop_mount "$T/e"
	elsewhere "$url" "$T/me" /d
}

# --- f: the store has no room ---
# quota KIND URL OBJECTS FOREIGN
quota()
{
	format_home "$2" --name "f$1"
	start_mount "$2" "$T/f$1" "$opts"
	mkdir "$T/f$1/d"
	check "$1: a file" $py put "$T/mf$1" "$T/f$1/d" a 1 3000000
	check "$1: sync" "$GNSFS" sync "$T/f$1"
	check "$1: a lake, imported" "$GNSFS" import "file://$T/lakef" \
	    "$T/f$1/lake"
	fill "$4"
	check "$1: files are written" $py put "$T/mf$1" "$T/f$1/d" b 4 3000000
	check "$1: small ones" $py put "$T/mf$1" "$T/f$1/d" s 20 20000
	check_fails "$1: sync" "$GNSFS" sync "$T/f$1" --timeout 3
	check_says "$1: it says why" "wait; .*No space"
	status_has "$1: status says why, and where" \
	    "waiting: store home: .*No space" "$T/f$1"
	check "$1: reads go on" $py check "$T/lakef.model" "$T/f$1/lake"
	check "$1: what is not stored is here" $py check "$T/mf$1" "$T/f$1/d"
	check_fails "$1: an import" "$GNSFS" import "file://$T/lakef" \
	    "$T/f$1/second"
	check_fails "$1:   makes nothing" ls "$T/f$1/second"
	find "$3/data" -type f -size -2999999c -size +1000000c >"$T/half"
	check_eq "$1: no half object is seen" "" "$(cat "$T/half")"
	kill_mount "$T/f$1"
	start_mount "$2" "$T/f$1" "$opts"
	check "$1: after kill -9 it is here" $py check "$T/mf$1" "$T/f$1/d"
	rm "$4"
	check "$1: with room it is stored by itself" wait_for 40 \
	    "$GNSFS" sync "$T/f$1" --timeout 10
	check "$1: every byte is here" $py check "$T/mf$1" "$T/f$1/d"
	find "$3/data" -type f -size -2999999c -size +1000000c >"$T/half"
	check_eq "$1: no half object is left" "" "$(cat "$T/half")"
	stop_mount "$T/f$1"
	elsewhere "$2" "$T/mf$1" /d
}

case_f()
{
	say "f: a store that is full"
	lake f 3 200000
	disk "$T/df" 64M
	mkdir "$T/df/store"
	[ -n "${GNSFS_TEST_SHORT:-}" ] ||
	    quota file "file://$T/df/store" "$T/df/store" "$T/df/foreign"
	umount "$T/df"
	mkdir "$T/s3f"
	disk "$T/s3f/objects" 64M
	(
		s3_start "$T/s3f" 0 && s3_bucket full-f &&
		    echo "$S3_ENDPOINT" >"$T/s3f.at"
	) >"$T/out" 2>&1 || { show_out; bail "a second server"; }
	quota s3 "s3://full-f?endpoint=$(cat "$T/s3f.at")&region=$AWS_REGION" \
	    "$T/s3f/objects/full-f" "$T/s3f/objects/foreign"
	s3_stop "$T/s3f"
	umount "$T/s3f/objects"
}

# --- g: the cache's disk has no inodes ---
case_g()
{
	say "g: no inodes"
	disk "$T/dg" 64M -N 420
	url=$(store_url file g)
	lake g 150 70000
	format_home "$url" --name g
	start_mount "$url" "$T/g" "$opts,cache=$T/dg/c,state=$T/sg"
	check "import" "$GNSFS" import "file://$T/lakeg" "$T/g/lake"
	check "more files are read than there are inodes" \
	    $py check "$T/lakeg.model" "$T/g/lake"
	say "free inodes: $(df --output=iavail "$T/dg" | tail -1)"
	mkdir "$T/g/d"
	i=0
	while touch "$T/dg/foreign$i" 2>/dev/null; do
		i=$((i + 1))
	done
	say "somebody took $i inodes"
	check "files are read" $py check "$T/lakeg.model" "$T/g/lake"
	mv "$T/stores/g" "$T/stores/away" # what is stored would make way
	check_rc 3 "in the end, ENOSPC" $py put "$T/mg" "$T/g/d" w 300 90000
	bounded "a create"
	mv "$T/stores/away" "$T/stores/g"
	check "sync" "$GNSFS" sync "$T/g" --timeout 60
	check "what was written is here" $py check "$T/mg" "$T/g/d"
	rm "$T"/dg/foreign*
	check "with inodes it works again" $py put "$T/mg" "$T/g/d" x 40 90000
	check "sync" "$GNSFS" sync "$T/g" --timeout 60
	check "each" $py check "$T/mg" "$T/g/d"
	check "each" $py check "$T/lakeg.model" "$T/g/lake"
	stop_mount "$T/g"
	elsewhere "$url" "$T/mg" /d
	umount "$T/dg"
}

# --- h: format, mount and import, on full disks ---
case_h()
{
	say "h: format and import"
	disk "$T/dh" 32M
	lake h 300 1000
	mkdir "$T/dh/store"
	fill "$T/dh/foreign"
	check_fails "format" "$GNSFS" format "file://$T/dh/store" --name h
	check_says "  says why" "[Nn]o space"
	check_eq "  and makes nothing" "" "$(find "$T/dh/store" -type f)"
	format_home "$(store_url file h)" --name h
	url=$(store_url file h)
	check_fails "mount" "$GNSFS" mount "$url" "$T/h" -o "cache=$T/dh/c"
	check_fails "mount, the folder there" sh -c "mkdir -p '$T/h' &&
	    '$GNSFS' mount '$url' '$T/h' -o 'cache=$T/dh/c'"
	check_says "  says why" "[Nn]o space"
	rm "$T/dh/foreign"
	check "format, with room" "$GNSFS" format "file://$T/dh/store" \
	    --name h2
	start_mount "$url" "$T/h" "$opts,cache=$T/dh/c"
	fill "$T/dh/foreign"
	check_fails "import" "$GNSFS" import "file://$T/lakeh" "$T/h/lake"
	check_says "  says why" "full|[Nn]o space"
	check_fails "  and makes nothing" ls "$T/h/lake"
	rm "$T/dh/foreign"
	check "import, with room" "$GNSFS" import "file://$T/lakeh" "$T/h/lake"
	check "each" $py check "$T/lakeh.model" "$T/h/lake"
	check "fsck" "$GNSFS" fsck "$T/h"
	stop_mount "$T/h"
	umount "$T/dh"
}

# --- i: one disk, and nobody but the mount itself fills it ---
case_i()
{
	say "i: a disk that the mount filled itself"
	disk "$T/di" 48M
	s3_bucket full-i
	url=$(s3_url full-i)
	o=$opts,cache=$T/di/c
	format_home "$url" --name i
	start_mount "$url" "$T/i" "$o"
	mkdir "$T/i/d"
	check "more is written than fits" $py put "$T/mi.old" "$T/i/d" c 45 \
	    1000000
	check "sync" "$GNSFS" sync "$T/i" --timeout 60
	s3_kill
	check_rc 3 "in the end, ENOSPC" $py put "$T/mi" "$T/i/d" b 60 1000000
	bounded "a write"
	at_once "unlink works" rm "$T/i/d/b0" "$T/i/d/b1"
	$py gone "$T/mi" b0 b1
	kill_mount "$T/i"
	start_mount "$url" "$T/i" "$o"
	check "after kill -9 it is here" $py check "$T/mi" "$T/i/d"
	s3_start "$T/s3" "$S3_PORT" || bail "the store does not come back"
	check "sync" "$GNSFS" sync "$T/i" --timeout 90
	check "writes go on" $py put "$T/mi" "$T/i/d" w 10 1000000
	check "sync" "$GNSFS" sync "$T/i" --timeout 60
	cat "$T/mi.old" >>"$T/mi"
	check "every byte is here" $py check "$T/mi" "$T/i/d"
	stop_mount "$T/i"
	elsewhere "$url" "$T/mi" /d
	umount "$T/di"
}

# --- j: files larger than the cache are written ---
case_j()
{
	say "j: files larger than the cache"
	s3_bucket full-j
	url=$(s3_url full-j)
	TIMEOUT=5		# two share a small cache
	o=lag=100ms,io_timeout=${TIMEOUT}s
	o=$o,cache=$T/cj,cache_size=16M,passthrough=off
	format_home "$url" --name j
	start_mount "$url" "$T/j" "$o"
	mkdir "$T/j/d"
	check "one is written" $py put "$T/mj" "$T/j/d" a 1 34000000
	check "the cache keeps its size" test \
	    "$(du -sm "$T/cj/data" | cut -f1)" -le 18
	check "and it is read" $py check "$T/mj" "$T/j/d"
	spawn $py weave "$T/j/d/v" "$T/v" 25000000
	writer=$!
	check "two that are changed meanwhile" $py weave "$T/j/d/w" "$T/w" \
	    26000000
	wait $writer
	check_eq "  the other" 0 $?
	check "they are what they were made" cmp "$T/j/d/w" "$T/w"
	check "  the other" cmp "$T/j/d/v" "$T/v"
	$py halt "$T/j/d/h" 40000000 20971520 "$T/halted" >"$T/halt" 2>&1 &
	writer=$!
	check "another" wait_for 20 test -e "$T/halted"
	kill_mount "$T/j"
	wait $writer
	say "$(cat "$T/halt")"
	start_mount "$url" "$T/j" "$o"
	check "after kill -9 what was synced is whole" $py starts "$T/j/d/h" \
	    40000000 20971520
	check "what was closed too" $py check "$T/mj" "$T/j/d"
	check "sync" "$GNSFS" sync "$T/j" --timeout 60
	s3_kill
	check_rc 3 "without its store: ENOSPC" $py put "$T/none" "$T/j/d" n 1 \
	    34000000
	bounded "a write"
	rm "$T/j/d/n0"
	s3_start "$T/s3" "$S3_PORT" || bail "the store does not come back"
	check "writes go on" wait_for 30 $py put "$T/mj" "$T/j/d" b 1 24000000
	stop_mount "$T/j"
	start_mount "$url" "$T/fresh" "cache=$T/fresh.cache,$opts"
	check "every byte, on a fresh host" $py check "$T/mj" "$T/fresh/d"
	check "of what was changed" cmp "$T/fresh/d/w" "$T/w"
	check "  the other" cmp "$T/fresh/d/v" "$T/v"
	check "of what was cut off" $py starts "$T/fresh/d/h" 40000000 20971520
	check "fsck there" "$GNSFS" fsck "$T/fresh"
	stop_mount "$T/fresh"
}

case_k()
{
	say "k: more writers than threads wait for room"
	url=$(store_url file k)
	format_home "$url" --name k
	start_mount "$url" "$T/k" \
	    "lag=100ms,io_timeout=20s,cache_size=16M,passthrough=off"
	mkdir "$T/k/d"
	mv "$T/stores/k" "$T/stores/k.away"
	_n=0
	while [ $_n -lt 100 ]; do
		_n=$((_n + 1))
		spawn dd if=/dev/zero "of=$T/k/d/$_n" bs=1M count=1 2>/dev/null
	done
	check "the cache is full" wait_for 10 sh -c \
	    "[ \$(du -sm '$T/cache.k/data' | cut -f1) -ge 12 ]"
	sleep 2
	check "names are made" timeout 5 mkdir "$T/k/new"
	check "and listed" timeout 5 ls -l "$T/k/d"
	check "and looked up" timeout 5 test ! -e "$T/k/none"
	mv "$T/stores/k.away" "$T/stores/k"
	check "all is written when there is room again" wait_for 60 sh -c \
	    "[ \$(du -sbc '$T/k/d/'[0-9]* | tail -1 | cut -f1) = 104857600 ]"
	stop_mount "$T/k"
}

start_s3
for case in a b c d e f g h i j k; do
	begun=$(now_ms)
	! wants $case || case_$case
	! wants $case || say "$case: $(($(now_ms) - begun)) ms"
done
say "the longest that a call took to fail: $longest ms, io_timeout is" \
    "${TIMEOUT}000 ms"
finish
