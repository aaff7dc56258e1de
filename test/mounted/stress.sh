# stress.sh: many processes at once on one mount, by tools that others wrote:
# stress-ng's filesystem stressors, dbench, fs_mark, postmark, fio with
# verification.
# Short: each has some seconds; GNSFS_TEST_LONG=1 gives it ten times as many.
# What they left is then compared with what a mount from the store alone says.
# timeout: 500

. "$(dirname "$0")/../lib.sh"
. "$TOP/test/suites.sh"
SECONDS_EACH=4
[ -z "${GNSFS_TEST_LONG:-}" ] || SECONDS_EACH=40

# Stressors that open, name, link, map, lock, truncate and list files.  Left
# out: those that need a block device or another filesystem's own calls.
STRESSORS="access chdir chmod chown copy-file dentry dir dirdeep dirmany dup
fallocate fcntl fiemap filename flock fpunch fstat getdent hdd io
link locka lockf lockofd mknod mmapfiles open readahead rename
seek sync-file symlink touch truncate unlink utime verity xattr"

# Those of them that the stress-ng here knows.
known()
{
	stress-ng --stressors 2>/dev/null | tr ' ' '\n' >"$T/known"
	for _one in $STRESSORS; do
		grep -qx "$_one" "$T/known" && echo "$_one"
	done
}

# stress SECONDS STRESSOR: by two processes.
stress()
{
	mkdir -p "$m/ng" || return
	(cd "$m/ng" && timeout 60 stress-ng --temp-path "$m/ng" --verify \
	    --timeout "$1" --"$2" 2 --hdd-bytes 16m --fallocate-bytes 16m \
	    --quiet)
}

# fs_mark takes names of folders of at most 39 bytes.
mark()
{
	(cd "$m" && fs_mark "$@")
}

# mail TRANSACTIONS: many small files made, read, appended to and removed, as
# a mail server does.  It exits 0 whatever happens: what it did is looked at.
mail()
{
	mkdir "$m/mail" || return
	printf 'set %s\n' "location $m/mail" "number 300" "subdirectories 5" \
	    "size 500 40000" "transactions $1" >"$T/postmark"
	printf 'run\nquit\n' >>"$T/postmark"
	timeout 120 postmark <"$T/postmark" || return
	[ -z "$(find "$m/mail" -type f)" ]
}

begin
suite_deb stress-ng stress-ng && suite_deb dbench dbench &&
    suite_deb fsmark fs_mark && suite_deb fio fio &&
    suite_deb postmark postmark ||
    bail "the tools cannot be installed"
url=$(store_url file home)
m=$T/m
format_home "$url"
start_mount "$url" "$m" lag=200ms

for one in $(known); do
	check "stress-ng $one" stress $((SECONDS_EACH / 4)) "$one"
done
check "dbench" timeout 120 dbench -D "$m" -t $SECONDS_EACH -c \
    /usr/share/dbench/client.txt 4
mkdir "$m/mark" "$m/keep"
check "fs_mark, small files, each synced" mark -d mark -n 200 -t 2 \
    -s 4096 -D 4 -S 1 -l "$T/fs_mark.log"
check "fs_mark, larger ones, kept" mark -d keep -n 20 -t 2 \
    -s 300000 -k -S 0 -l "$T/fs_mark.log"
check "postmark" mail $((SECONDS_EACH * 250))
check_says "made all its files" "created \(.* per second\)"
check "and nothing failed" sh -c "! grep -iE 'error|cannot|fail' '$T/out'"
check "fio, random writes by two, verified" \
    fio --verify_state_save=0 --name=verify --directory="$m/keep" \
    --rw=randwrite --bs=4k-64k --bs_unaligned=1 \
    --size=32m --numjobs=2 --verify=crc32c --do_verify=1 --verify_fatal=1 \
    --runtime=$((SECONDS_EACH * 3)) --ioengine=psync --group_reporting
check "fio, mapped, verified" \
    fio --verify_state_save=0 --name=mapped --directory="$m/keep" \
    --rw=randwrite --bs=4k --size=16m --numjobs=2 --verify=crc32c \
    --do_verify=1 --verify_fatal=1 --ioengine=mmap --group_reporting
check "fio, direct, verified" \
    fio --verify_state_save=0 --name=direct --directory="$m/keep" \
    --rw=randrw --bs=4k --size=16m --numjobs=2 --verify=crc32c \
    --do_verify=1 --verify_fatal=1 --ioengine=psync --direct=1 \
    --group_reporting

# --- and it is all in the store ---
rm -rf "$m/ng" "$m/clients" "$m/mark" "$m/mail"
sums "$m" >"$T/before"
stop_mount "$m"
start_mount "$url" "$T/again" "cache=$T/cache.again"
sums "$T/again" >"$T/after"
check_eq "files are left to compare" yes \
    "$([ "$(wc -l <"$T/before")" -ge 40 ] && echo yes)"
check "a mount from the store alone has the same bytes" \
    cmp "$T/before" "$T/after"
check "fsck finds nothing" "$GNSFS" fsck "$T/again"
stop_mount "$T/again"
finish
