# import.sh: existing files adopted from a folder and from an S3 bucket: the
# same tree and bytes, nothing copied, nothing in the source ever changed; and
# what is kept on this host of them: pin, warm, evict.
# timeout: 500

. "$(dirname "$0")/../lib.sh"

# Objects of the home; how many segments its log has, the seconds say.
but_log()
{
	find "$(store_dir "$1" "home-$1")" -type f ! -path '*/log/*' | wc -l
}

begin
m=$T/m

# 1,200 files with odd names, sizes around those that matter, one of 9 MB.
make_source()
{
	python3 - "$1" <<-'END'
		import os, random, sys
		rnd = random.Random(7)
		top = sys.argv[1]
		def put(key, n):
		    path = os.path.join(top, key)
		    os.makedirs(os.path.dirname(path), exist_ok=True)
		    with open(path, "wb") as f:
		        f.write(rnd.randbytes(n))
		    os.utime(path, (1e9 + n, 1e9 + n))
		for i in range(1160):
		    put(f"shard-{i % 7}/{i // 100:02}/{i:05}.bin",
		        rnd.choice([0, 1, 100, 4096, 20000, 65536, 65537]))
		for i, name in enumerate(["with space", "plus+plus",
		    "per%20cent", "a&b=c", "quo'te", 'dou"ble', "ques?tion",
		    "ha#sh", "ti~lde", "se;mi", "co:lon", "com,ma", "at@",
		    "[brackets]", "{braces}", "back\\slash", "star*", "<tag>",
		    "e\u0301\u00e9\u4e2d\u6587",
		    ".hidden", "...", " leading", "trailing ", "-dash", "UPPER",
		    "upper", "emoji\U0001f600", "x" * 255, "\u00e9" * 127]):
		    put(f"odd/{name}", 10 + i)
		    if i % 3 == 0:
		        put(f"odd dirs/{name[:200]}/below", 5000 + i)
		put("deep/" + "d/" * 60 + "leaf", 77)
		put("large.bin", 9000000)
	END
}

# As the import is to show it.
names()
{
	(cd "$1" && find . -mindepth 1 \( -type f -printf '%P %s\n' \) -o \
	    -printf '%P/\n' | LC_ALL=C sort)
}

cached()
{
	getfattr --only-values --absolute-names -n user.gnsfs.cached "$1"
}

# no_change NAME CMD...: it fails, for the reason that the tree is read-only.
no_change()
{
	_what=$1
	shift
	if quiet "$@"; then
		fail "$_what is refused" "it was not"
	elif grep -qi 'read-only file system' "$T/out"; then
		ok "$_what is refused"
	else
		show_out
		fail "$_what is refused" "not as read-only"
	fi
}

# one KIND SOURCE_URL SOURCE_DIR: all of it.
one()
{
	kind=$1
	source=$2
	dir=$3
	in=$m/data/lake
	say "--- $kind"
	home=$(store_url "$kind" "home-$kind")
	format_home "$home"
	start_mount "$home" "$m"
	mkdir "$m/data"
	sums "$dir" >"$T/sums"
	names "$dir" >"$T/names"
	(cd "$dir" && find . -type f -printf '%P %s %T@ %i\n' | sort) >"$T/was"
	before=$(but_log "$kind")

	check "import" "$GNSFS" import "$source" "$in" --report
	check_says "it says how many files" '12[0-9][0-9] files'
	after=$(but_log "$kind")
	check "it adds few objects to the home: $((after - before))" \
	    [ $((after - before)) -lt 10 ]
	bytes=$(du -sk "$(store_dir "$kind" "home-$kind")" | cut -f1)
	check "and few bytes: $bytes KiB" [ "$bytes" -lt 1000 ]
	check_rc 1 "a second one over it is refused" \
	    "$GNSFS" import "$source" "$in"

	names "$in" | diff "$T/names" - >"$T/diff"
	check "the same names and sizes" sh -c \
	    "head '$T/diff'; [ ! -s '$T/diff' ]"
	check_eq "files are 0644" "" "$(find "$in" -type f ! -perm 0644)"
	check_eq "directories are 0755" "" "$(find "$in" -type d ! -perm 0755)"
	check_eq "mtime is the object's" \
	    "$(stat -c %Y "$dir/large.bin")" "$(stat -c %Y "$in/large.bin")"
	check_eq "nothing is here yet" 0 "$(cached "$in/large.bin")"
	sums "$in" | diff "$T/sums" - >"$T/diff"
	check "the same bytes" sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
	check_eq "what was read is here" 100 "$(cached "$in/large.bin")"
	sums "$in" | diff "$T/sums" - >"$T/diff"
	check "and again, from here" sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
	check_eq "the key is told" large.bin "$(getfattr --only-values \
	    -n user.gnsfs.key --absolute-names "$in/large.bin")"
	check "explain tells the store" "$GNSFS" explain "$in/large.bin"
	check_says "and the key" 'large\.bin'

	f=$in/shard-1/00/00001.bin
	no_change "write" sh -c "echo x >>'$f'"
	no_change "truncate" truncate -s 0 "$f"
	no_change "unlink" rm -f "$f"
	no_change "rename inside" mv "$f" "$in/moved"
	no_change "rename out" mv -T "$f" "$m/moved"
	no_change "a new file" touch "$in/new"
	no_change "a new directory" mkdir "$in/newdir"
	no_change "a new symbolic link" ln -s x "$in/newlink"
	no_change "rmdir" rmdir "$in/deep"
	echo mine >"$m/mine"
	no_change "rename over one" mv -f "$m/mine" "$f"
	check_fails "rm -rf" rm -rf "$in/odd"
	check_eq "takes nothing away" "$(find "$dir/odd" -type f | wc -l)" \
	    "$(find "$in/odd" -type f | wc -l)"

	check "tag" "$GNSFS" tag add "$in/shard-2" split=train
	"$GNSFS" find "tag:split=train" -n "$m" >"$T/found"
	check_eq "find by tag" "$(find "$dir/shard-2" -type f | wc -l)" \
	    "$(wc -l <"$T/found")"
	"$GNSFS" find "$in/**/*.bin" 'size>60K' --and >"$T/found"
	check_eq "find by glob and size" "$(find "$dir" -name '*.bin' \
	    -size +61440c | wc -l)" "$(wc -l <"$T/found")"
	"$GNSFS" find --in "$in/odd dirs" "name:below" -0 >"$T/found"
	check_eq "find by name, below" \
	    "$(find "$dir/odd dirs" -name below | wc -l)" \
	    "$(tr -dc '\0' <"$T/found" | wc -c)"
	check_rc 1 "find of what is missing fails" "$GNSFS" find "$m/absent"

	check "evict all" "$GNSFS" evict "$in"
	check_eq "a large one is gone from here" 0 "$(cached "$in/large.bin")"
	check_eq "a small one too" 0 \
	    "$(cached "$(find "$in/odd" -type f | head -1)")"
	check "pin --wait" "$GNSFS" pin "$in/shard-3" "$in/large.bin" --wait
	check_eq "it is here" 100 "$(cached "$in/large.bin")"
	for f in $(find "$in/shard-3" -name '*.bin' | head -5); do
		check_eq "${f##*/} is here" 100 "$(cached "$f")"
	done
	check_eq "and says so" 1 "$(getfattr --only-values \
	    -n user.gnsfs.pinned --absolute-names "$in/large.bin")"
	"$GNSFS" pins --json -n "$m" >"$T/pins"
	check_eq "pins: one" 1 "$(json "$T/pins" 'len(j)')"
	check_eq "all of it present" True \
	    "$(json "$T/pins" 'j[0]["have"] == j[0]["want"] > 9000000')"
	quiet "$GNSFS" evict "$in"
	check_eq "evict leaves what is pinned" 100 "$(cached "$in/large.bin")"
	check_rc 1 "a pin of what is missing fails" \
	    "$GNSFS" pin "$in/absent" --wait
	check_rc 1 "so does an unpin of an unknown name" \
	    "$GNSFS" unpin -n "$m" --name nobody

	stop_mount "$m"
	start_mount "$home" "$m"
	check_eq "pinned bytes survive a restart" 100 \
	    "$(cached "$in/large.bin")"
	"$GNSFS" pins --json -n "$m" >"$T/pins"
	check_eq "so does the pin" True \
	    "$(json "$T/pins" 'j[0]["have"] == j[0]["want"] > 9000000')"
	name=$(json "$T/pins" 'j[0]["name"]')
	check "unpin by name" "$GNSFS" unpin -n "$m" --name "$name"
	check "nothing is pinned" sh -c \
	    "'$GNSFS' pins -n '$m' | grep -q 'nothing is pinned'"
	check "evict" "$GNSFS" evict "$in"
	check_eq "then goes all of it" 0 "$(cached "$in/large.bin")"
	check "warm" "$GNSFS" warm "$in/large.bin"
	check_eq "brings it back" 100 "$(cached "$in/large.bin")"
	check "sync" "$GNSFS" sync "$m"
	check "fsck finds one digest" "$GNSFS" fsck "$m"
	stop_mount "$m"

	rm -rf "$T/cache.m"
	start_mount "$home" "$m"
	names "$in" | diff "$T/names" - >"$T/diff"
	check "from nothing: the same names" sh -c \
	    "head '$T/diff'; [ ! -s '$T/diff' ]"
	sums "$in" | diff "$T/sums" - >"$T/diff"
	check "and bytes" sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
	"$GNSFS" find "tag:split=train" -n "$m" >"$T/found"
	check_eq "and tags" "$(find "$dir/shard-2" -type f | wc -l)" \
	    "$(wc -l <"$T/found")"
	stop_mount "$m"
	rm -rf "$T/cache.m"
	(cd "$dir" && find . -type f -printf '%P %s %T@ %i\n' | sort) |
	    diff "$T/was" - >"$T/diff"
	check "the source is as it was" sh -c \
	    "head '$T/diff'; [ ! -s '$T/diff' ]"
}

make_source "$T/src"
one file "file://$T/src" "$T/src"

start_s3
s3_bucket lake || bail "no bucket"
cp -a "$T/src/." "$S3_DIR/objects/lake/"
one s3 "$(s3_url lake)" "$S3_DIR/objects/lake"

say "--- keys that are no paths, and mistakes"
home=$(store_url file home2)
format_home "$home"
start_mount "$home" "$m"
mkdir "$T/src2"
printf 1 >"$T/src2/~gns-x"
printf 22 >"$T/src2/$(printf 'bad\377utf8')"
printf 333 >"$T/src2/$(printf 'new\nline')"
check "import" "$GNSFS" import "file://$T/src2" "$m/two" --report
check_says "the report names what it renamed" '~gns-x -> .*~gns-raw-~gns-x'
check_eq "by that name it is there" 1 "$(cat "$m/two/~gns-raw-~gns-x")"
check_eq "bytes that are no UTF-8" 22 \
    "$(cat "$m/two/$(printf 'bad\377utf8')")"
check_eq "a line break" 333 "$(cat "$m/two/$(printf 'new\nline')")"
check_rc 1 "a folder that is missing" \
    "$GNSFS" import "file://$T/absent" "$m/three"
check_fails "leaves nothing half made" stat "$m/three"
begun=$(now_ms)
check_rc 1 "a bucket that is missing" \
    "$GNSFS" import "$(s3_url nobucket)" "$m/three"
check_says "is named" nobucket
check "within 10 s" [ $(($(now_ms) - begun)) -lt 10000 ]
check_fails "and leaves nothing either" stat "$m/three"
begun=$(now_ms)
check_rc 1 "a server that is missing" "$GNSFS" import \
    "s3://lake?endpoint=http://127.0.0.1:9&region=us-east-1" "$m/three"
check_says "is named" '127\.0\.0\.1:9'
check "within 10 s too" [ $(($(now_ms) - begun)) -lt 10000 ]
stop_mount "$m"
finish
