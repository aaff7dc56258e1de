# homes.sh: the home on Azure Blob (Azurite) and on Google Cloud Storage
# (fake-gcs-server, and ours, which is strict where that one is not), as
# proxy.sh and others have it on S3.  The log, the snapshots, MANIFEST's
# compare-and-swap (B1), sessions (L1), the fence (L13), a crash with changes
# pending (L2), who only reads beside who writes, and another store there.
#	KINDS="az gs"	which (az gs strict; s3)
# timeout: 400
# build: plain

. "$(dirname "$0")/../lib.sh"
begin
kinds=${KINDS:-az gs strict}
a=$T/a
b=$T/b
r=$T/r
GNSFS_BIN=$GNSFS
export GNSFS_BIN

# random FILE BYTES
random()
{
	head -c "$2" /dev/urandom >"$1"
}

# status DIR EXPR: over j, what status says.
status()
{
	"$GNSFS" status "$1" --json >"$T/status.json" &&
	    json "$T/status.json" "$2"
}

write_state()
{
	status "$1" 'j["write_state"]'
}

is_fenced()
{
	[ "$(write_state "$1")" = fenced ]
}

# where PATH: the stores that have its bytes.
where()
{
	"$GNSFS" explain "$1" --json >"$T/explain.json" &&
	    json "$T/explain.json" "' '.join(sorted({x['store']
	    for x in j['extents']}))"
}

# same DIR NAME: it has what $T/sums says.
same()
{
	sums "$1" | diff "$T/sums" - >"$T/diff"
	check "$k: $2" sh -c "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
}

# steps DIR N: that many segments.
steps()
{
	_i=0
	while [ $_i -lt "$2" ]; do
		_i=$((_i + 1))
		echo "$_i" >"$1/step"
		quiet "$GNSFS" sync "$1" || { show_out; bail "$k: step $_i"; }
	done
}

written()
{
	mkdir -p "$a/deep/er"
	cp -r "$T/src" "$a/small"
	cp "$T/large" "$a/large"
	cp "$T/parts" "$a/deep/er/parts"
	ln "$a/large" "$a/deep/linked"
	ln -s ../large "$a/deep/sym"
	setfattr -n user.color -v green "$a/large"
	mv "$a/small" "$a/deep/small"
	check "$k: sync" "$GNSFS" sync "$a" --timeout 60s
	printf x | dd of="$a/large" bs=1 seek=1000 conv=notrunc 2>"$T/out"
	rm "$a/deep/small/7"
	steps "$a" 20
}

# Another one that reads beside it (F1, B5).
followed()
{
	start_mount "$url" "$r" ro,poll=50ms
	mkdir "$a/follow"
	for case in small reopened; do
		check "$k: a reader beside it: $case" timeout 60 python3 \
		    "$TOP/test/mounted/follow.py" $case "$a/follow" \
		    "$r/follow"
	done
	stop_mount "$r"
}

# Another store of the same cloud.
placed()
{
	check "$k: another store" "$GNSFS" store add lake "$lake" -n "$a"
	check "$k: it can do what is asked of it" "$GNSFS" store check lake \
	    -n "$a"
	mkdir "$a/far"
	check "$k: for a folder" "$GNSFS" policy set "$a/far" store=lake
	cp "$T/large" "$T/src/20" "$a/far"
	check "$k: sync" "$GNSFS" sync "$a"
	check_eq "$k: it has the bytes" "lake lake" \
	    "$(where "$a/far/large") $(where "$a/far/20")"
}

# One host at a time; a crash fences nobody else, and loses nothing.
crashed()
{
	mount_as hostb "$url" "$b"
	check_eq "$k: a second host is refused" 1 $?
	check_says "$k:   and told which one has it" hosta
	stop_mount "$a"
	mount_as hosta "$url" "$a" lag=1h || { show_out; bail "$k: again"; }
	cp "$T/large" "$a/pending"
	echo pending >"$a/pending.small"
	mkdir "$a/pending.d"
	sync "$a/pending" "$a/pending.small"
	check "$k: changes are pending" [ \
	    "$(status "$a" 'j["pending"]["ops"]')" -gt 2 ]
	sums "$a" >"$T/sums"
	kill_mount "$a"
	mount_as hostb "$url" "$b"
	check_eq "$k: after a crash too" 1 $?
	mount_as hosta "$url" "$a" lag=1h || { show_out; bail "$k: crashed"; }
	same "$a" "nothing is lost by a crash"
	check "$k: what was pending is stored" "$GNSFS" sync "$a" \
	    --timeout 60s
	check "$k: fsck finds one digest" "$GNSFS" fsck "$a"
}

fenced()
{
	echo unsent >"$a/unsent"
	mount_as hostb "$url" "$b" takeover,lag=50ms || {
		show_out
		bail "$k: takeover"
	}
	check_eq "$k: who takes over may write" writable "$(write_state "$b")"
	same "$b" "and has all of it"
	echo new >"$b/new"
	check "$k: it stores" "$GNSFS" sync "$b"
	check "$k: the first finds itself fenced" wait_for 20 is_fenced "$a"
	check_fails "$k: and writes nothing more" touch "$a/after"
	check_rc 1 "$k: its sync fails" "$GNSFS" sync "$a" --timeout 5s
	check_rc 1 "$k: its unmount says that there is more" \
	    "$GNSFS" umount "$a"
	rm -f "$(_slot "$a")"
	check "$k: rescue" "$GNSFS" rescue "$T/cache.a" "$T/rescued.$k"
	check_eq "$k: it has what was not sent" unsent \
	    "$(cat "$T/rescued.$k/unsent")"
}

# From nothing but the store: by the snapshot, and the log after it.
fresh()
{
	steps "$b" 20
	sums "$b" >"$T/sums"
	stop_mount "$b"
	rm -rf "$T"/cache.?
	mount_as hostc "$url" "$a" || { show_out; bail "$k: a fresh host"; }
	same "$a" "a fresh host has every byte"
	check_eq "$k: and attributes" green "$(getfattr --only-values \
	    --absolute-names -n user.color "$a/large")"
	check_eq "$k: and links" "2 ../large" \
	    "$(stat -c %h "$a/large") $(readlink "$a/deep/sym")"
	"$GNSFS" fsck "$a" --json >"$T/fsck.json"
	check_eq "$k: fsck finds one digest, from a snapshot too" True \
	    "$(json "$T/fsck.json" '(j["snapshot"]["same"] and
	    j["snapshot"]["from"] > 0)')"
	stop_mount "$a"
}

mkdir "$T/src"
i=0
while [ $i -lt 40 ]; do
	i=$((i + 1))
	random "$T/src/$i" $((i * 997))
done
random "$T/large" 3000000
random "$T/parts" 24000000
for k in $kinds; do
	began=$(now_ms)
	case $k in
	strict)	GCS_SERVER=strict start_gs
		cloud=gs ;;
	*)	start_$k
		cloud=$k ;;
	esac
	url=$(store_url $cloud home) && lake=$(store_url $cloud lake) ||
	    bail "$k: no buckets"
	check "$k: format" "$GNSFS" format "$url" --name "on-$k"
	check_rc 1 "$k: a second format is refused" "$GNSFS" format "$url"
	check_says "$k:   and says that there is one" "on-$k|already"
	mount_as hosta "$url" "$a" lag=50ms || { show_out; bail "$k: mount"; }
	written
	followed
	placed
	crashed
	fenced
	fresh
	s3_stop "$T/$cloud"
	rm -rf "$T/$cloud" "$T"/cache.?
	say "$k: $(($(now_ms) - began)) ms"
done
finish
