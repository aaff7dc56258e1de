# refresh.sh: an import follows its bucket (B4, B5), on a folder and on S3:
# changed, new and vanished objects; what was moved stays moved; open files are
# of one version; pins follow; a listing that fails changes nothing; kill -9 in
# the middle; --every.  KINDS=file or s3: only that one.
# timeout: 400

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
py=$TOP/test/mounted/refresh.py
many=3000
refreshed_with=
[ -z "${GNSFS_TEST_SHORT:-}" ] || many=1200

# put FILE KEY: FILE becomes the object KEY, as other programs do it.
put()
{
	case $kind in
	file)	mkdir -p "$(dirname "$dir/$2")"
		cp "$1" "$dir/.new.tmp" && mv "$dir/.new.tmp" "$dir/$2" ;;
	s3)	curl -s -f -T "$1" --max-time 60 \
		    -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
		    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
		    --aws-sigv4 "aws:amz:$AWS_REGION:s3" \
		    "$S3_ENDPOINT/lake/$(echo "$2" | sed 's/ /%20/g')" ;;
	esac
}

# A file of random bytes: random SIZE, its path.
random()
{
	_n=$((_n + 1))
	head -c "$1" /dev/urandom >"$T/r$_n"
	echo "$T/r$_n"
}

names()
{
	rm -rf "$dir/.sgwtmp"		# versitygw's own
	(cd "$1" && find . -mindepth 1 \( -type f -printf '%P %s\n' \) -o \
	    -printf '%P/\n' | LC_ALL=C sort)
}

inode()
{
	stat -c %i "$1"
}

cached()
{
	getfattr --only-values --absolute-names -n user.gnsfs.cached "$1"
}

is_cached()
{
	[ "$(cached "$1")" = 100 ]
}

# same NAME: the import shows what the bucket has.
same()
{
	names "$dir" >"$T/want"
	names "$in" | diff "$T/want" - >"$T/diff"
	check "$1: the same names and sizes" sh -c \
	    "head '$T/diff'; [ ! -s '$T/diff' ]"
	sums "$dir" >"$T/want"
	sums "$in" | diff "$T/want" - >"$T/diff"
	check "$1: the same bytes" sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
}

lsn()
{
	"$GNSFS" status --json "$m" >"$T/status"
	json "$T/status" 'j["log"]["lsn"]'
}

# refreshed NAME PYTHON: a refresh, and what it says of itself.
refreshed()
{
	check "$1" "$GNSFS" refresh "$in" $refreshed_with --json
	cp "$T/out" "$T/said"
	check_eq "$1: $(echo "$2" | tr -s '\n\t' ' ')" True \
	    "$(json "$T/said" "($2)")"
}

# --- what changes ---

differences()
{
	was=$(lsn)
	refreshed "nothing changed" 'j["added"] + j["changed"] + j["gone"] +
	    j["retimed"] == 0 and j["same"] == j["keys"] > 300'
	check_eq "and that is no operation" "$was" "$(lsn)"

	keeps=$(inode "$in/shard-1/1.bin")
	changes=$(inode "$in/shard-1/2.bin")
	quiet "$GNSFS" tag add "$in/shard-1/2.bin" kept=yes
	check "a pin" "$GNSFS" pin "$in/shard-1" --wait
	put "$(random 70000)" shard-1/2.bin
	put "$(random 300)" shard-1/3.bin
	put "$(random 1500000)" "shard-1/new one.bin"
	put "$(random 10)" new/dir/below/file
	rm -r "$dir/shard-2" "$dir/shard-1/4.bin"
	check_eq "it shows what it did until it is refreshed" \
	    "$(stat -c %s "$T/old/shard-1/2.bin")" \
	    "$(stat -c %s "$in/shard-1/2.bin")"
	check "a name that is not there yet" [ ! -e "$in/new" ]
	refreshed "refresh" 'j["added"] == 2 and j["changed"] == 2 and
	    j["gone"] == 41 and j["dirs_added"] == 3 and j["dirs_gone"] == 1'
	same "after it"
	check "a new name is seen" cat "$in/new/dir/below/file"
	check_eq "a file that did not change is the same one" "$keeps" \
	    "$(inode "$in/shard-1/1.bin")"
	check "one that did is another" \
	    [ "$changes" != "$(inode "$in/shard-1/2.bin")" ]
	check "with its tags" sh -c \
	    "'$GNSFS' tag ls '$in/shard-1/2.bin' | grep -q kept=yes"
	check "the pin has the new file" wait_for 30 is_cached \
	    "$in/shard-1/new one.bin"
	check "and the new content" wait_for 30 is_cached \
	    "$in/shard-1/2.bin"
	check "all of it" wait_for 60 sh -c "'$GNSFS' pins -n '$m' --json |
	    python3 -c 'import json, sys; j = json.load(sys.stdin)[0]
assert j[\"have\"] == j[\"want\"] and j[\"files\"] == 40, j'"
	quiet "$GNSFS" unpin "$in/shard-1"

	mkdir -p "$m/else where"
	mv "$in" "$m/else where/moved"
	in="$m/else where/moved"
	put "$(random 12345)" shard-3/1.bin
	refreshed "moved, by its new path" 'j["changed"] == 1'
	same "moved"
	check_rc 1 "by its old one" "$GNSFS" refresh "$m/data/lake"
	check_rc 2 "a part of it" "$GNSFS" refresh "$in/shard-3"
	check_says "names the import" 'else where/moved'
	check_rc 2 "what is no import" "$GNSFS" refresh "$m/data"
	quiet rm -f "$in/shard-3/1.bin"
	check "it is read-only as before" [ -e "$in/shard-3/1.bin" ]
}

# --- who has it open ---

readers()
{
	cp "$dir/large.bin" "$T/v1"
	quiet "$GNSFS" evict "$in/large.bin"
	random 14000000 >/dev/null
	cp "$T/r$_n" "$T/v2"
	replace="$T/replace"
	{
		echo ". '$TOP/test/servers.sh'; kind=$kind dir='$dir'"
		echo "S3_ENDPOINT='${S3_ENDPOINT:-}'"
		sed -n '/^put()/,/^}/p' "$0"
		echo 'put "$1" "$2" && "$3" refresh "$4" '
	} >"$replace"
	check "a reader in the middle has one version, or ESTALE" \
	    timeout 60 python3 "$py" half "$in/large.bin" "$T/v1" \
	    "sh '$replace' '$T/v2' large.bin '$GNSFS' '$in'"
	say "$(cat "$T/out")"
	check "who opens it then has the new one" cmp "$in/large.bin" "$T/v2"
	check "it is all here" is_cached "$in/large.bin"
	check "a mapping and a passed file stay what they were" \
	    timeout 60 python3 "$py" mapped "$in/large.bin" "$T/v2" \
	    "sh '$replace' '$T/v1' large.bin '$GNSFS' '$in'"
	check "and who opens it has the new one" cmp "$in/large.bin" "$T/v1"
	put "$T/v2" large.bin
	check "a changed object is read as it was where it is here" \
	    cmp "$in/large.bin" "$T/v1"
	quiet "$GNSFS" evict "$in/large.bin"
	check_fails "and not where it is not" cmp "$in/large.bin" "$T/v1"
	check_says "which is ESTALE" 'Stale file handle'
	check "until the refresh" "$GNSFS" refresh "$in"
	check "then it is the new one" cmp "$in/large.bin" "$T/v2"

	mkdir -p "$T/versions"
	cp "$T/v2" "$T/versions/0"
	cp "$T/old/shard-4/0.bin" "$T/versions/s0"
	rm -f "$T/stop"
	spawn timeout 100 python3 "$py" loop "$in/large.bin" "$T/versions" \
	    "$T/stop" >"$T/loop" 2>&1
	large=$!
	spawn timeout 100 python3 "$py" loop "$in/shard-4/0.bin" \
	    "$T/versions" "$T/stop" >"$T/loop.small" 2>&1
	small=$!
	for i in 1 2 3 4 5; do
		head -c $((9000000 + i % 2)) /dev/urandom >"$T/versions/$i"
		head -c $((40000 + i % 2)) /dev/urandom >"$T/versions/s$i"
		put "$T/versions/$i" large.bin
		put "$T/versions/s$i" shard-4/0.bin
		[ $i = 2 ] || quiet "$GNSFS" refresh "$in"
		sleep 0.3
	done
	: >"$T/stop"
	wait $large
	check_eq "a reader of a large one that is replaced: $(tail -1 \
	    "$T/loop")" 0 $?
	wait $small
	check_eq "and of a small one: $(tail -1 "$T/loop.small")" 0 $?
	same "after them"
}

# --- failures ---

failures()
{
	names "$in" >"$T/before"
	case $kind in
	file)	mv "$dir" "$dir.away" ;;
	s3)	s3_stop ;;
	esac
	begun=$(now_ms)
	check_rc 1 "a store that is away" "$GNSFS" refresh "$in"
	check_says "is named" "the store '.*lake'"
	check "within 10 s" [ $(($(now_ms) - begun)) -lt 10000 ]
	names "$in" | diff "$T/before" - >"$T/diff"
	check "and nothing vanished" [ ! -s "$T/diff" ]
	check "imports says why" sh -c "'$GNSFS' imports -n '$m' |
	    grep -q \"the store '.*lake'\""
	case $kind in
	file)	mv "$dir.away" "$dir" ;;
	s3)	s3_start "$T/s3" "$S3_PORT" >"$T/out" 2>&1 ;;
	esac
	check "it comes back" wait_for 30 "$GNSFS" refresh "$in"

	# what is under a disk that is not mounted
	names "$in" >"$T/before"
	mkdir "$dir.under"
	mv "$dir"/* "$dir.under/"
	check_rc 1 "a store that lists nothing" "$GNSFS" refresh "$in"
	check_says "is named" "the store '.*lake': lists nothing"
	check_says "with the way out" 'refresh PATH --empty'
	names "$in" | diff "$T/before" - >"$T/diff"
	check "and nothing vanished" [ ! -s "$T/diff" ]
	refreshed_with=--empty
	refreshed "unless it is meant" 'j["keys"] == 0 and j["gone"] > 200'
	refreshed_with=
	mv "$dir.under"/* "$dir/"
	refreshed "all come back" 'j["keys"] == j["added"] > 200'
	rmdir "$dir.under"
	same "all are back"
}

# A listing that breaks off after its first page.
broken()
{
	names "$in" >"$T/before"
	rm -r "$dir/shard-6"
	stop_mount "$m"
	GNSFS_FAULT="op=list,nth=3,rc=denied"
	export GNSFS_FAULT
	start_mount "$home" "$m"
	unset GNSFS_FAULT
	check_rc 1 "a listing that breaks off" "$GNSFS" refresh "$in"
	names "$in" | diff "$T/before" - >"$T/diff"
	check "changes nothing" [ ! -s "$T/diff" ]
	stop_mount "$m"
	start_mount "$home" "$m"
	refreshed "one that does not" 'j["gone"] == 40 and j["added"] == 0'
}

# --- kill -9 ---

killed()
{
	python3 - "$dir" "$many" <<-'END'
		import os, sys
		for i in range(int(sys.argv[2])):
		    path = f"{sys.argv[1]}/many/{i % 37}/{i}"
		    os.makedirs(os.path.dirname(path), exist_ok=True)
		    with open(path, "w") as f:
		        f.write(f"{i}\n" * (i % 5))
	END
	rm -r "$dir/shard-5"
	"$GNSFS" refresh "$in" >/dev/null 2>&1 &
	_refresh=$!
	quiet wait_for 10 [ -d "$in/many" ]
	kill_mount "$m"
	wait $_refresh
	start_mount "$home" "$m"
	now=$(find "$in/many" -type f 2>/dev/null | wc -l)
	check "killed, it is done in part or not: $now of $many" \
	    [ "$now" -le "$many" ]
	check "fsck after it" "$GNSFS" fsck "$m"
	check "the rest" "$GNSFS" refresh "$in" --json
	cp "$T/out" "$T/said"
	check_eq "of it" True "$(json "$T/said" \
	    "j['added'] <= $many and j['changed'] == 0")"
	same "after the kill"
	broken
	was=$(lsn)
	rm -r "$dir/many"
	refreshed "all of them go" "j['gone'] == $many"
	now=$(lsn)
	check "in few segments: $((now - was))" [ $((now - was)) -le 6 ]
	same "after that"
}

# --- by itself ---

gone()
{
	[ ! -e "$1" ]
}

by_itself()
{
	check "--every" "$GNSFS" refresh "$in" --every 1s
	put "$(random 17)" auto/one
	check "a new object is seen by itself" wait_for 20 cat "$in/auto/one"
	check "status shows it" sh -c \
	    "'$GNSFS' status '$m' | grep -q 'import .* every 1'"
	check "imports too" sh -c \
	    "'$GNSFS' imports -n '$m' | grep -q 'refreshed every 1'"
	stop_mount "$m"
	put "$(random 18)" auto/two
	start_mount "$home" "$m"
	check "after a restart too" wait_for 20 cat "$in/auto/two"
	rm "$dir/auto/one"
	check "one that vanished" wait_for 20 gone "$in/auto/one"
	check_rc 2 "no time" "$GNSFS" refresh "$in" --every soon
	check "--every 0" "$GNSFS" refresh "$in" --every 0
	put "$(random 19)" auto/three
	sleep 3
	check "ends it" [ ! -e "$in/auto/three" ]
	check "and by hand it goes on" "$GNSFS" refresh "$in"
	same "at the end"
}

one()
{
	kind=$1
	source=$2
	dir=$3
	_n=0
	in=$m/data/lake
	say "--- $kind"
	home=$(store_url "$kind" "home-$kind")
	format_home "$home"
	start_mount "$home" "$m" lag=200ms
	check "import" "$GNSFS" import "$source" "$in"
	same "imported"
	differences
	readers
	failures
	killed
	by_itself
	check "fsck" "$GNSFS" fsck "$m"
	stop_mount "$m"
	rm -rf "$T/cache.m"
	start_mount "$home" "$m"
	same "from nothing"
	check "and its refresh" "$GNSFS" refresh "$in" --json
	cp "$T/out" "$T/said"
	check_eq "finds nothing" True "$(json "$T/said" \
	    'j["added"] + j["changed"] + j["gone"] == 0')"
	stop_mount "$m"
	rm -rf "$T/cache.m" "$T"/r[0-9]* "$T/versions"
}

python3 - "$T/old" <<-'END'
	import os, random, sys
	rnd = random.Random(5)
	for i in range(320):
	    path = f"{sys.argv[1]}/shard-{i // 40}/{i % 40}.bin"
	    os.makedirs(os.path.dirname(path), exist_ok=True)
	    with open(path, "wb") as f:
	        f.write(rnd.randbytes(rnd.choice([0, 1, 100, 40000, 65537])))
	    os.utime(path, (1.6e9 + i, 1.6e9 + i))
	with open(f"{sys.argv[1]}/large.bin", "wb") as f:
	    f.write(rnd.randbytes(14000000))
END

for kind in ${KINDS:-file s3}; do
	if [ "$kind" = file ]; then
		cp -a "$T/old" "$T/lake"
		one file "file://$T/lake" "$T/lake"
	else
		start_s3
		s3_bucket lake || bail "no bucket"
		cp -a "$T/old/." "$S3_DIR/objects/lake/"
		one s3 "$(s3_url lake)" "$S3_DIR/objects/lake"
	fi
done
finish
