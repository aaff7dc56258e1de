# homes.sh: the home on Azure Blob (Azurite) and on Google Cloud Storage
# (fake-gcs-server, and ours, which is strict where that one is not), as
# proxy.sh and others have it on S3.  The log, the snapshots, MANIFEST's
# compare-and-swap (B1), sessions (L1), the fence (L13), a crash with changes
# pending (L2), who only reads beside who writes, another store there, and an
# import whose objects are replaced, as refresh.sh has it for others (B4, B5).
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

# object_cmd: as a script: FILE KEY puts that object, KEY alone removes it.
object_cmd()
{
	case $cloud in
	s3)	_at=$S3_DIR/objects/data
		echo '[ $# = 2 ] || exec rm "'"$_at"'/$1"'
		echo 'exec install -D "$1" "'"$_at"'/$2"' ;;
	az)	_at="curl -sf -H 'x-ms-version: 2020-08-04'"
		_blob="$AZURITE_ENDPOINT/data"
		_sas=$(azurite_sas)
		echo '[ $# = 2 ] || exec '"$_at \\"
		echo "    -X DELETE '$_blob/'\"\$1?$_sas\""
		echo "exec $_at -H 'x-ms-blob-type: BlockBlob' \\"
		echo '    -T "$1"' "'$_blob/'\"\$2?$_sas\"" ;;
	gs)	_at=$GCS_ENDPOINT
		echo "key=\$(printf %s \"\$1\" | sed 's|/|%2F|g')"
		echo '[ $# = 2 ] || exec curl -sf -o /dev/null '"\\"
		echo "    -X DELETE '$_at/storage/v1/b/data/o/'\"\$key\""
		echo "key=\$(printf %s \"\$2\" | sed 's|/|%2F|g')"
		echo 'exec curl -sf -o /dev/null --data-binary "@$1" '"\\"
		echo "    -H 'Content-Type: application/octet-stream' \\"
		echo "    '$_at/upload/storage/v1/b/data/o?uploadType=media'\\"
		echo "'&name='\"\$key\"" ;;
	esac
}

# put FILE KEY: the object, and $T/want has it.  gone KEY.
put()
{
	sh "$T/object" "$1" "$2" && install -D "$1" "$T/want/$2" ||
	    bail "$k: $2 cannot be put"
}

gone()
{
	sh "$T/object" "$1" && rm "$T/want/$1" ||
	    bail "$k: $1 cannot be removed"
}

# imported NAME: the import is $T/want.
imported()
{
	sums "$T/want" >"$T/want.sums"
	sums "$in" | diff "$T/want.sums" - >"$T/diff"
	check "$k: $1" sh -c "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
}

# refreshed NAME ADDED CHANGED GONE
refreshed()
{
	check "$k: $1" "$GNSFS" refresh "$in" --json
	cp "$T/out" "$T/said"
	check_eq "$k:   added, changed and gone" "$2 $3 $4" \
	    "$(json "$T/said" "'%d %d %d' % (j['added'], j['changed'],
	    j['gone'])")"
}

# Objects that others write: B4, and one version or ESTALE (B5).
replaced()
{
	in=$a/data
	py=$TOP/test/mounted/refresh.py
	rm -rf "$T/want" "$T/versions" "$T/stop"
	object_cmd >"$T/object"
	for _i in 1 2 3 4 5 6 7 8 9; do
		put "$T/src/$_i" "d/$_i"
	done
	put "$T/v0" large
	check "$k: import" "$GNSFS" import "$data" "$in"
	imported "it is what is there"
	put "$T/src/30" d/3
	put "$T/src/31" new/below/31
	gone d/7
	check "$k: an object that is gone is read where it is here" \
	    cmp "$T/src/7" "$in/d/7"
	refreshed "refresh" 1 1 1
	imported "after it"
	refreshed "and again" 0 0 0

	quiet "$GNSFS" evict "$in/large"
	check "$k: a reader in the middle has one version, or ESTALE" \
	    timeout 60 python3 "$py" half "$in/large" "$T/v0" \
	    "sh '$T/object' '$T/v1' large && '$GNSFS' refresh '$in'"
	check "$k: who opens it then has the new one" cmp "$T/v1" "$in/large"
	put "$T/v0" large
	check "$k: what is here is read as it was" cmp "$T/v1" "$in/large"
	quiet "$GNSFS" evict "$in/large"
	check_fails "$k: and not where it is not" cmp "$T/v0" "$in/large"
	check_says "$k:   which is ESTALE" "Stale file handle"
	refreshed "until the refresh" 0 1 0
	check "$k: then it is the new one" cmp "$T/v0" "$in/large"

	mkdir "$T/versions"
	cp "$T/v0" "$T/v1" "$T/versions"
	spawn timeout 60 python3 "$py" loop "$in/large" "$T/versions" \
	    "$T/stop" >"$T/loop" 2>&1
	_loop=$!
	for _i in 1 0 1 0; do
		put "$T/v$_i" large
		[ $_i = 0 ] || quiet "$GNSFS" refresh "$in"
		quiet "$GNSFS" evict "$in/large"
		sleep 0.2
	done
	: >"$T/stop"
	quiet "$GNSFS" refresh "$in"
	wait $_loop
	check_eq "$k: a reader meanwhile: $(tail -1 "$T/loop")" 0 $?
	refreshed "the last" 0 0 0
	imported "at the end"
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
random "$T/v0" 9000000
random "$T/v1" 9000001
for k in $kinds; do
	began=$(now_ms)
	case $k in
	strict)	GCS_SERVER=strict start_gs
		cloud=gs ;;
	*)	start_$k
		cloud=$k ;;
	esac
	url=$(store_url $cloud home) && lake=$(store_url $cloud lake) &&
	    data=$(store_url $cloud data) || bail "$k: no buckets"
	check "$k: format" "$GNSFS" format "$url" --name "on-$k"
	check_rc 1 "$k: a second format is refused" "$GNSFS" format "$url"
	check_says "$k:   and says that there is one" "on-$k|already"
	mount_as hosta "$url" "$a" lag=50ms || { show_out; bail "$k: mount"; }
	written
	followed
	placed
	replaced
	crashed
	fenced
	fresh
	s3_stop "$T/$cloud"
	rm -rf "$T/$cloud" "$T"/cache.?
	say "$k: $(($(now_ms) - began)) ms"
done
finish
