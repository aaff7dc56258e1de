# store.sh: the stores of a namespace: known, listed, renamed, moved, forgotten,
# and asked what they can do, on versitygw, MinIO and a directory.
# timeout: 500

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
ns=stores-$$

# object KEY FILE: into the S3 server started last.
object()
{
	curl -s -f -T "$2" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
	    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
	    --aws-sigv4 "aws:amz:$AWS_REGION:s3" "$S3_ENDPOINT/$1" ||
	    bail "put of $1"
}

# store ARGS...: gnsfs store of this namespace.
store()
{
	"$GNSFS" store "$@" -n "$ns"
}

# lists NAME FIELD: of store ls.
listed()
{
	store ls --json >"$T/ls.json" &&
	    json "$T/ls.json" "[s['$2'] for s in j if s['name'] == '$1'][0]"
}

# steps EXPR: over s, the steps of the last check in $T/check.json, by name.
steps()
{
	json "$T/check.json" "(lambda s: $1)({x['step']: x for x in j})"
}

# left BUCKET: what a check left there.
left()
{
	find "$S3_DIR/objects/$1" -name 'gnsfs-*' ! -path '*/.sgwtmp/*' \
	    ! -path '*/.minio.sys/*' 2>/dev/null | wc -l
}

start_s3
s3_bucket corpus
s3_bucket lake
s3_bucket moved
head -c 300000 /dev/urandom >"$T/one"
head -c 3000 /dev/urandom >"$T/two"
for b in lake moved; do
	object $b/one "$T/one"
	object $b/dir/two "$T/two"
done
query="region=$AWS_REGION"
format_home "s3://corpus?endpoint=$S3_ENDPOINT&$query" --name "$ns"
start_mount "s3://corpus?endpoint=$S3_ENDPOINT&$query" "$m" lag=10ms

# --- known and forgotten ---
mkdir "$T/spare"
check "add" store add spare "file://$T/spare"
check_eq "is listed" "file://$T/spare" "$(listed spare url)"
check_eq "and up" True "$(listed spare up)"
check_eq "and no home" False "$(listed spare home)"
check_eq "as the home is" True "$(listed home home)"
check_rc 1 "again" store add spare "file://$T/spare"
check_says "says that there is one" "'spare' already"
check "rm" store rm spare
check_fails "is not listed" listed spare url
check_rc 1 "rm of the home" store rm home

# --- moved and renamed, without touching a file ---
check "import" "$GNSFS" import \
    "s3://lake?endpoint=$S3_ENDPOINT&$query" "$m/lake"
sums "$m" >"$T/sums"
stat -c '%n %i %Y %Z' "$m/lake/one" "$m/lake/dir/two" >"$T/stat"
check_rc 1 "rm of what is needed" store rm lake
check_says "says how many" "2 objects"
check "a setting" store set lake profile= "region=$AWS_REGION" style=path
check_eq "is in the URL" True "$(listed lake url >"$T/url" &&
    grep -q 'style=path' "$T/url" && echo True)"
check "and is taken away" store set lake style=
listed lake url >"$T/url"
check_fails "  it is" grep -q style= "$T/url"
check_rc 2 "a setting that there is not" store set lake regoin=x
check_rc 2 "nothing to set" store set lake
check_rc 2 "what is neither" store set lake nothing
check_rc 1 "a place where the objects are not" store set lake \
    "s3://corpus?endpoint=$S3_ENDPOINT&$query"
check_says "says which one, and the way out" "'(one|dir/two)' is missing.*force"
check_rc 1 "the home" store set home "s3://lake?endpoint=$S3_ENDPOINT&$query"
check_says "is where it is mounted from" "is the home"
check "the place where they are" store set lake \
    "s3://moved?endpoint=$S3_ENDPOINT&$query"
check "evict" "$GNSFS" evict "$m/lake"
rm -rf "$S3_DIR/objects/lake/one" "$S3_DIR/objects/lake/dir"
check "every byte is read there" sh -c "cd '$m' &&
    sha256sum -c --quiet '$T/sums'"
stat -c '%n %i %Y %Z' "$m/lake/one" "$m/lake/dir/two" >"$T/stat.now"
check "no file was touched" cmp "$T/stat" "$T/stat.now"
check "moved back, as it is asked to" store set lake --force \
    "s3://lake?endpoint=$S3_ENDPOINT&$query"
check "evict again" "$GNSFS" evict "$m/lake"
check_fails "where nothing is, nothing is read" cp "$m/lake/one" "$T/none"
check "and once more" store set lake "s3://moved?endpoint=$S3_ENDPOINT&$query"
check "is read at once" cmp "$m/lake/one" "$T/one"
check "rename" store set lake --rename ocean
check_fails "the old name is gone" listed lake url
check_eq "a selector knows the new one" 2 \
    "$("$GNSFS" find store:ocean --in "$m" | wc -l)"
check_eq "explain too" ocean "$(getfattr --only-values --absolute-names \
    -n user.gnsfs.store "$m/lake/one")"
store add spare "file://$T/spare"
check_rc 1 "a name in use" store set spare --rename ocean
check_rc 2 "a name that is none" store set spare --rename a/b
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
rm -rf "$T/cache.m"
start_mount "s3://corpus?endpoint=$S3_ENDPOINT&$query" "$m" lag=10ms
check_eq "a fresh host knows the store" \
    "s3://moved?endpoint=$S3_ENDPOINT&$query" "$(listed ocean url)"
check "and reads there" cmp "$m/lake/one" "$T/one"

# --- moved to where each version is another: an inode's number, an ETag ---
sdk=$(sdk_python) || bail "no SDKs"
mkdir -p "$T/dir/sub" "$T/ours" "$m/ours"
head -c 20000000 /dev/urandom >"$T/big"
head -c 1500000 "$T/big" >"$T/mid"
cp "$T/one" "$T/mid" "$T/dir"
cp "$T/two" "$T/dir/sub"
s3_bucket parts
s3_bucket near
S3_ENDPOINT=$S3_ENDPOINT "$sdk" "$TOP/test/mounted/clouds.py" upload s3 parts \
    big "$T/big" >"$T/out" 2>&1 || bail "the SDK cannot upload"
object near/big "$T/big"
check "import of a directory" "$GNSFS" import "file://$T/dir" "$m/dir"
check "and of an object of parts" "$GNSFS" import \
    "s3://parts?endpoint=$S3_ENDPOINT&$query" "$m/parts"
check "a store of our own" store add ours "file://$T/ours"
check "that new bytes go to" "$GNSFS" policy set "$m/ours" store=ours
cp "$T/one" "$T/mid" "$T/big" "$m/ours"
for i in 1 2 3 4 5 6 7 8; do
	echo "small $i" >"$m/ours/$i"
done
check "they are there" "$GNSFS" sync "$m" --timeout 60s
rm "$m/ours/3"			# and a pack that is not all needed
moving()
{
	(cd "$m" && find dir parts ours -type f -exec "$@" {} + | LC_ALL=C sort)
}
moving sha256sum >"$T/moving"
moving stat -c '%n %i %Y %Z' >"$T/moving.stat"
# moved WHAT: all of it is read where it is now, and no file is another.
moved()
{
	check "evict" "$GNSFS" evict "$m/dir" "$m/parts" "$m/ours"
	moving sha256sum >"$T/moving.now"
	check "$1: every byte is read there" cmp "$T/moving" "$T/moving.now"
	moving stat -c '%n %i %Y %Z' >"$T/moving.now"
	check "$1: no file was touched" cmp "$T/moving.stat" "$T/moving.now"
}
# A copy that is not what it was is refused, and nothing is changed.
cp -a "$T/ours" "$T/bad"
python3 - "$T/bad" <<'END'
import os, sys
big = max((os.path.join(d, n) for d, _, names in os.walk(sys.argv[1])
           for n in names), key=os.path.getsize)
was = os.stat(big)
with open(big, "r+b") as f:
    f.seek(7000000)
    b = f.read(1)
    f.seek(7000000)
    f.write(bytes([b[0] ^ 1]))
os.utime(big, ns=(was.st_atime_ns, was.st_mtime_ns))
END
check_rc 1 "one byte of a copy is wrong" store set ours "file://$T/bad"
check_says "says which object" "the bytes of 'data/.*' there are others.*--forc"
cp -a "$T/dir" "$T/cut"
truncate -s 100 "$T/cut/sub/two"
check_rc 1 "one is shorter" store set dir "file://$T/cut"
check_says "says which" "'sub/two' is of another size"
mkdir "$T/other"
cp -r "$T/dir/." "$T/other"
head -c 1500000 /dev/urandom >"$T/other/mid"
check_rc 1 "one is of that size, and other" store set dir "file://$T/other"
check_says "says which too" "the bytes of 'mid' there are others"
moved "refused"
cp "$T/mid" "$T/other/mid"
check "copied anew, with other times, it is compared" store set dir \
    "file://$T/other"
rm -r "$T/dir"
moved "with other times"
start_mount "s3://corpus?endpoint=$S3_ENDPOINT&$query" "$T/ro" ro
name=$ns
ns=$m
check "another host reads there" cmp "$T/ro/ours/mid" "$T/mid"
cp -a "$T/other" "$T/dir2"
rm -r "$T/other"
check "a directory copied by cp -a, the old one gone" store set dir \
    "file://$T/dir2"
cp -a "$T/ours" "$T/ours2"
rm -r "$T/ours"
check "one of our own, the old one gone" store set ours "file://$T/ours2"
check "an object that was put in other parts" store set parts \
    "s3://near?endpoint=$S3_ENDPOINT&$query"
rm "$S3_DIR/objects/parts/big"
moved "moved"
check "the other host follows" wait_for 20 cmp "$T/ro/ours/big" "$T/big"
check "  to imports too" cmp "$T/ro/dir/mid" "$T/mid"
stop_mount "$T/ro"
ns=$name
check "parts: a refresh" sh -c \
    "'$GNSFS' refresh '$m/parts' --json >'$T/refresh.json'"
check_eq "finds what it was" "1 0" "$(json "$T/refresh.json" \
    '"%d %d" % (j["same"] + j["retimed"], j["changed"] + j["added"] +
    j["gone"])')"
check "the place where it is, again" store set ours "file://$T/ours2"

# --- killed while it is compared, or recorded ---
mkdir "$T/many"
(cd "$T/many" && seq 3000 | split -l 1 -a 4 -)
check "many" "$GNSFS" import "file://$T/many" "$m/many"
cp -a "$T/many" "$T/many2"
rm -r "$T/many"
store set many "file://$T/many2" >"$T/killed" 2>&1 &
killed=$!
sleep 0.3
kill_mount "$m"
wait $killed
start_mount "s3://corpus?endpoint=$S3_ENDPOINT&$query" "$m" lag=10ms
check "asked again, it goes on" store set many "file://$T/many2"
cat "$T/many2"/* >"$T/many.all"
cat "$m/many"/* >"$T/many.now"
check "all are read" cmp "$T/many.all" "$T/many.now"
check "  refresh" sh -c "'$GNSFS' refresh '$m/many' --json >'$T/refresh.json'"
check_eq "  finds no other" 3000 "$(json "$T/refresh.json" 'j["same"]')"
check "fsck finds one digest" "$GNSFS" fsck "$m"

# --- an import that is gone keeps no store ---
s3_bucket brief
object brief/one "$T/one"
: >"$T/empty"
object brief/empty "$T/empty"
brief="s3://brief?endpoint=$S3_ENDPOINT&$query"
check "another import" "$GNSFS" import "$brief" "$m/brief"
check_rc 1 "rm of what is needed" store rm brief
rm "$S3_DIR/objects/brief/one"
check "its objects go, but for one" "$GNSFS" refresh "$m/brief"
check_rc 1 "rm of what is still imported" store rm brief
check_says "says so" "is imported"
rm "$S3_DIR/objects/brief/empty"
check "all of them" "$GNSFS" refresh "$m/brief" --empty
check "and it" rmdir "$m/brief"
check "then rm" store rm brief
check "fsck finds one digest" "$GNSFS" fsck "$m"
object brief/two "$T/two"
check "it comes again, with the same number" "$GNSFS" import "$brief" \
    "$m/brief"
check "and is read" cmp "$m/brief/two" "$T/two"

# --- asked what it can do ---
check "check of the home" sh -c "'$GNSFS' store check home -n '$ns' --json \
    >'$T/check.json'"
check_eq "every step was made" 18 "$(steps 'len(s)')"
check_eq "and versitygw does all of it" "[]" \
    "$(steps '[x for x in s if not s[x]["ok"]]')"
check_eq "nothing is left" 0 "$(left corpus)"
check "check of a store that is only read" sh -c \
    "'$GNSFS' store check ocean -n '$ns' --json >'$T/check.json'"
check_eq "is no more than that" "['list', 'read a range']" \
    "$(steps 'sorted(s)')"
check_eq "and writes nothing" 0 "$(left moved)"
check "with --write" sh -c \
    "'$GNSFS' store check ocean --write -n '$ns' >'$T/check'"
check_eq "it writes, and cleans up" 0 "$(left moved)"
check "check of a directory" sh -c \
    "'$GNSFS' store check spare --write -n '$ns' --json >'$T/check.json'"
check_eq "all of it, too" "[]" \
    "$(steps '[x for x in s if not s[x]["ok"]]')"
check_eq "and leaves nothing" "" "$(ls "$T/spare")"
rm -rf "$T/spare"
check_rc 1 "check of one that is gone" store check spare
check_says "says so, and what it costs" "there is no directory"
stop_mount "$m"

# --- a home that was moved ---
mkdir "$T/h1"
format_home "file://$T/h1" --name "moved-$$"
start_mount "file://$T/h1" "$T/hm" lag=10ms
cp "$T/mid" "$T/two" "$T/hm"
stop_mount "$T/hm"
cp -a "$T/h1" "$T/h2"
rm -r "$T/h1" "$T/cache.hm"
start_mount "file://$T/h2" "$T/hm" lag=10ms
check_rc 1 "another URL than is mounted" "$GNSFS" store set home \
    "file://$T/h1" -n "moved-$$"
check_says "is refused" "is the home"
check "the one that is" "$GNSFS" store set home "file://$T/h2" -n "moved-$$"
check "its files are read" sh -c \
    "cmp '$T/hm/mid' '$T/mid' && cmp '$T/hm/two' '$T/two'"
stop_mount "$T/hm"

# --- stores that know no conditions (B1), between us and versitygw ---
: >"$T/lies"
spawn python3 "$TOP/test/mounted/liar.py" "$T/port" "$S3_PORT" "$T/lies" \
    "$S3_DIR/objects"
wait_for 10 test -s "$T/port" || bail "the liar does not start"
far="endpoint=http://127.0.0.1:$(cat "$T/port")&$query"
start_mount "s3://corpus?$far" "$m" lag=10ms
check "while it keeps them it is a home" sh -c "echo honest >'$m/honest'"
check_eq "and nothing is said" "" "$("$GNSFS" status "$m" --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["log"]["why"])')"
stop_mount "$m"

# one_host HOW: the home's store is HOW from now on; $m goes on alone.
one_host()
{
	check_rc 1 "$1: no home is made there" "$GNSFS" format \
	    "s3://moved/new?$far"
	check_says "  and it says what that would cost" \
	    "does not honour If-None-Match .*one record would be lost"
	check_eq "  nothing is left" 0 "$(find "$S3_DIR/objects/moved" \
	    -path '*probe*' -type f ! -path '*/.sgwtmp/*' | wc -l)"
	check "  who wrote last mounts" start_mount "s3://corpus?$far" "$m" \
	    lag=10ms
	check "  and writes" sh -c "echo $1 >'$m/$1' && '$GNSFS' sync '$m'"
	check "  status" "$GNSFS" status "$m"
	check_says "  says why it is alone" "does not honour If-None-Match"
	check_rc 1 "  store check of the home fails" store check home
	check_says "  says what is missing" \
	    "put if absent is refused where there is one"
	check_rc 1 "  another host takes nothing over" try_mount \
	    "s3://corpus?$far" "$T/other" \
	    "lag=10ms,cache=$T/cache.other,takeover"
	check_says "  and is told so" "cannot be taken over.*-o ro"
	stop_mount "$m"
	check_rc 1 "  nor does it come second" try_mount "s3://corpus?$far" \
	    "$T/other" "lag=10ms,cache=$T/cache.other"
	check_says "  and is told who may" "one host alone.*'$(hostname)'"
	check "  it reads" start_mount "s3://corpus?$far" "$T/other" \
	    "ro,cache=$T/cache.other"
	check_eq "  what is there" "$1" "$(cat "$T/other/$1")"
	stop_mount "$T/other"
}

echo "blind any /" >"$T/lies"
one_host blind
echo "refuses any /" >"$T/lies"
one_host refuses
head -c 20000000 /dev/urandom >"$T/large"
start_mount "s3://corpus?$far" "$m" lag=10ms
check "data goes there, too: small" cp "$T/one" "$m/data"
check "  in parts" cp "$T/large" "$m/large"
check "  it is stored" "$GNSFS" sync "$m"
check "  and by stage" sh -c "'$GNSFS' store add far 's3://lake/far?$far' \
    -n '$ns' && '$GNSFS' stage '$m/data' '$m/large' --to far"
# --- a store that copies wrong ---
store add bent "s3://lake/bent?$far" || bail "store add bent"
echo "miscopies PUT /lake/bent/" >"$T/lies"
check_rc 1 "a copy that the store made, of other bytes" "$GNSFS" stage \
    "$m/data" "$m/large" --to bent
check_says "  is told" "is not what was stored.*more object"
check_eq "  nothing is recorded of it" "" "$("$GNSFS" find store:bent \
    -n "$ns")"
check_eq "  nor left" 0 "$(find "$S3_DIR/objects/lake/bent" -path '*/data/*' \
    -type f 2>/dev/null | wc -l)"
quiet "$GNSFS" evict "$m/data" "$m/large"
check "  and what it was is read" sh -c \
    "cmp '$m/large' '$T/large' && cmp '$m/data' '$T/one'"
echo "blind any /" >"$T/lies"
check "  until it copies right" sh -c "'$GNSFS' stage '$m/data' '$m/large' \
    --to bent --json >'$T/bent.json'"
check_eq "  by itself" "True 0" "$(json "$T/bent.json" \
    '"%s %d" % (j["copied"] > 20000000, j["relayed"])')"
echo "refuses any /" >"$T/lies"
check "a store for data alone is told that it is no home" \
    store check far --write
check_says "  in words" "it can be no home"
echo "left GET uploads=" >"$T/lies"
check "what a host that died has left there" store check far --write
check_says "  is told, of ours what is old" "1 put in parts begun more than"
check_says "  with the way out" "lifecycle rule of the bucket"
: >"$T/lies"
stop_mount "$m"
check "as soon as it keeps them again others may" start_mount \
    "s3://corpus?$far" "$T/other" "lag=10ms,cache=$T/cache.other"
check "  and have it all" cmp "$T/other/large" "$T/large"
check_eq "  of each" "honest blind refuses" \
    "$(cd "$T/other" && echo $(cat honest blind refuses))"
check "fsck" "$GNSFS" fsck "$T/other"
stop_mount "$T/other"
s3_stop

# --- MinIO, which ignores If-Match on DELETE ---
S3_SERVER=minio
s3_start "$T/minio" 0 >"$T/out" 2>&1 || { show_out; bail "no minio"; }
s3_bucket corpus
format_home "s3://corpus?endpoint=$S3_ENDPOINT&$query" --name "$ns"
start_mount "s3://corpus?endpoint=$S3_ENDPOINT&$query" "$T/minio.m" lag=10ms
"$GNSFS" store check home -n "$ns" --json >"$T/check.json"
check_eq "MinIO is a home all the same" 0 $?
check_eq "all but one step" "['delete is refused where it changed']" \
    "$(steps '[x for x in s if not s[x]["ok"]]')"
check "in words" store check home
check_says "what is missing" 'delete is refused.*no: it was done all the same'
check_says "and what it costs" 'what it costs: what another host wrote'
check_eq "nothing is left there" 0 "$(left corpus)"
stop_mount "$T/minio.m"
s3_stop
finish
