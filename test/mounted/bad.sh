# bad.sh: wrong things, each with the status and the message it must give: the
# thing, the reason, the way out.  The table is the rows that begin with `bad`;
# what stands between them prepares the next ones.
# timeout: 600

. "$(dirname "$0")/../lib.sh"
begin
cases=0
longest=0
slowest=

# --- the harness ---

gnsfs()
{
	timeout 20 "$GNSFS" "$@"
}

# mounting URL [OPTS]: on $T/m, with a cache folder of its own.
mounting()
{
	try_mount "$1" "$T/m" "${2:-cache=$T/cache.fresh}"
}

# What may not change: mounts, daemons, locks held, objects.
traces()
{
	awk -v t="$T/" 'index($5, t) == 1 { print "mounted", $5 }' \
	    /proc/self/mountinfo
	pgrep -f "^[^ ]+ mount [^ ]+ $T/" | sed 's/^/daemon /'
	find "$T" -xdev -name lock -type f | while read -r _lock; do
		flock -n "$_lock" true || echo "locked $_lock"
	done
	find "$T/stores" "$T/s3/objects" -type f ! -path '*/.sgwtmp/*' \
	    ! -path '*/.vgwlocks/*' \
	    -printf '%P %s\n' 2>/dev/null
}

# settled: what there is now is what may be left.
settled()
{
	traces | LC_ALL=C sort >"$T/traces"
}

# bad STATUS NAME 'WORDS; WORDS; ...' COMMAND...: fails with STATUS within 10
# s, says each of WORDS (not those after a `!`), and leaves nothing behind.
bad()
{
	_want=$1
	_row=$2
	_words=$3
	shift 3
	cases=$((cases + 1))
	_start=$(now_ms)
	quiet "$@"
	_rc=$?
	_took=$(($(now_ms) - _start))
	if [ $_took -gt $longest ]; then
		longest=$_took
		slowest=$_row
	fi
	[ -z "${BAD_SHOW:-}" ] || { say "$_row ($_took ms)"; show_out; }
	traces | LC_ALL=C sort >"$T/traces.now"
	if [ $_rc != "$_want" ]; then
		show_out
		fail "$_row" "status $_rc, not $_want: $*"
	elif [ $_took -gt 10000 ]; then
		fail "$_row" "$_took ms"
	elif ! says "$_words"; then
		show_out
		fail "$_row" "not as it must be: $_lacks"
	elif ! diff "$T/traces" "$T/traces.now" >"$T/out"; then
		show_out
		fail "$_row" "left something behind"
	else
		ok "$_row"
	fi
	is_mounted "$T/m" && ! grep -q "^mounted $T/m$" "$T/traces" &&
	    kill_mount "$T/m"
	rm -rf "$T/cache.fresh"
}

# says 'WORDS; ! WORDS; ...': $T/out does; else $_lacks.
says()
{
	_rest="$1; "
	while [ -n "$_rest" ]; do
		_lacks=${_rest%%; *}
		_rest=${_rest#*; }
		case $_lacks in
		'!'*)	grep -qF -e "${_lacks#! }" "$T/out" && return 1 ;;
		*)	grep -qF -e "$_lacks" "$T/out" || return 1 ;;
		esac
	done
	return 0
}

# reading LOG FILE: into $T/read; where that fails, with what LOG has then.
reading()
{
	: >"$T/read"
	timeout 20 cat "$2" >"$T/read" && return 0
	sed -n "$((logged + 1)),\$p" "$1"
	return 1
}

# bytes N: N bytes, always the same ones.
bytes()
{
	python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(1).randbytes(int(sys.argv[1])))' "$1"
}

# --- URLs ---
settled
long=$(printf '%03000d' 0)
bad 2 "a URL without a scheme" 'no URL; s3://BUCKET' \
    gnsfs format corpus/gns
bad 2 "a scheme that is none" "start with s3://; 'http://'" \
    gnsfs format http://127.0.0.1/gns
bad 2 "a URL of nothing" 'no URL; s3://BUCKET' gnsfs format ''
bad 2 "no bucket" 'names no bucket' gnsfs format s3:///gns
bad 2 "no bucket, in GCS" 'names no bucket' gnsfs format gs://
bad 2 "no container" 'names no container' gnsfs format az://account
bad 2 "a port in the bucket's place" "':'; ?endpoint=http://HOST:PORT" \
    gnsfs format s3://127.0.0.1:9000/gns
bad 2 "a letter that no bucket has" "bucket's name; '%'; letters, digits" \
    gnsfs format 's3://a%b/gns'
bad 2 "a user and a secret" 'no credentials; profile=NAME; ! hunter2' \
    gnsfs format s3://user:hunter2@corpus/gns
bad 2 "a secret among the settings" \
    "'secret_key'; no credentials; profile=NAME; ! hunter2" \
    gnsfs format 's3://corpus/gns?secret_key=hunter2'
bad 2 "a setting that there is not" "'regoin'; region" \
    gnsfs format 's3://corpus/gns?regoin=eu-west-1'
bad 2 "a setting without a value" "'region'; region=VALUE" \
    gnsfs format 's3://corpus/gns?region'
bad 2 "a setting twice" "'region'; twice" \
    gnsfs format 's3://corpus/gns?region=a&region=b'
bad 2 "half a percent sign" "'region'; %25" \
    gnsfs format 's3://corpus/gns?region=%zz'
bad 2 "an endpoint of another kind" 'endpoint; https://HOST[:PORT]' \
    gnsfs format 's3://corpus/gns?endpoint=ftp://host'
bad 2 "an endpoint without a host" 'endpoint names no host' \
    gnsfs format 's3://corpus/gns?endpoint=http:///x'
bad 2 "a secret in the endpoint" 'endpoint; no credentials; ! hunter2' \
    gnsfs format 's3://corpus/gns?endpoint=http://u:hunter2@host'
bad 2 "an empty component" "'//'; empty component" \
    gnsfs format s3://corpus/a//b
bad 2 "a way up" "'..'; write it without" gnsfs format s3://corpus/a/../b
bad 2 "a relative directory" 'file:///DIR' gnsfs format file://srv/store
bad 2 "a line break" 'control character; at byte 13' \
    gnsfs format "s3://corpus/a
b"
bad 2 "a URL without end" 'has 3012 bytes; at most 2048' \
    gnsfs format "s3://corpus/$long"
bad 2 "the same of mount" "'http://'; start with s3://" \
    gnsfs mount http://127.0.0.1/gns "$T/m"
bad 2 "of import" 'no URL; s3://BUCKET' gnsfs import lake "$T/m/lake"

# --- options and operands ---
bad 2 "no command" 'usage: gnsfs' gnsfs
bad 2 "a command that there is not" "'frobnicate'; gnsfs help" \
    gnsfs frobnicate
bad 2 "an option that there is not" '--frob; usage; gnsfs help format' \
    gnsfs format --frob file:///x
bad 2 "an option without its value" '--name needs a value; usage' \
    gnsfs format file:///x --name
bad 2 "an operand too few" 'something is missing; usage' gnsfs mount file:///x
bad 2 "an operand too many" "'b' is one too many; usage" \
    gnsfs umount a b
bad 2 "a name that is none" "'a/b'; letters, digits; --name" \
    gnsfs format "file://$T" --name a/b
bad 2 "help of what there is not" "'frobnicate'; gnsfs help" \
    gnsfs help frobnicate

# option NAME WORDS OPTS: one of mount's.
option()
{
	bad 2 "$1" "$2; usage" gnsfs mount file:///x / -o "$3"
}

option "a mount option that there is not" "'cahce'; gnsfs help mount" \
    cahce=/nvme
option "a mount option without its value" "cache; cache=DIR" cache
option "a path that is none" 'cache= names no path' cache=
option "a value where none is wanted" 'takeover takes no value' takeover=yes
option "a size that is none" 'cache_size=lots; cache_size=20G' cache_size=lots
option "too small a cache" 'cache_size=1M; at least 16 MiB' cache_size=1M
option "too little memory" 'memory=1; at least 64 MiB' memory=1
option "a time that is none" 'lag=soon; lag=1s' lag=soon
option "a time out of range" 'poll=25h; 24 h' poll=25h
option "a mode of tomorrow" 'mode=strong; mode=eventual' mode=strong
option "a mode that is none" 'mode=fast; mode=eventual' mode=fast
option "a word that is none" 'offline=maybe; offline=fail or offline=wait' \
    offline=maybe
option "a user who is nobody" "uid=no-such-user; no such user; number" \
    uid=no-such-user
option "a group that there is not" 'gid=no-such-group; number' \
    gid=no-such-group
option "a mask that is none" 'umask=999; umask=022' umask=999

# --- this host ---
home=$(store_url file home)
lake=$(store_url file lake)
m=$T/m
mkdir "$T/m" "$T/n" "$T/plain"
touch "$T/file"
bytes 5000 >"$T/stores/lake/small.txt"
bytes 3000000 >"$T/stores/lake/large.bin"
format_home "$home" --name corpus
format_home "$(store_url file other)" --name other
settled
bad 1 "a mountpoint that there is not" "$T/none; No such file; mkdir" \
    gnsfs mount "$home" "$T/none" -o "cache=$T/cache.fresh"
bad 1 "a mountpoint that is a file" "$T/file; no directory; choose one" \
    gnsfs mount "$home" "$T/file" -o "cache=$T/cache.fresh"
bad 1 "a cache folder that is a file" "$T/file; cache=DIR" \
    mounting "$home" "cache=$T/file"
bad 1 "a cache folder below a file" "$T/file/c; cache=DIR" \
    mounting "$home" "cache=$T/file/c"
bad 1 "a log file in no folder" "$T/none/log; log=FILE" \
    mounting "$home" "cache=$T/cache.fresh,log=$T/none/log"
bad 1 "a log file that is a folder" "$T/plain; log=FILE" \
    mounting "$home" "cache=$T/cache.fresh,log=$T/plain"
bad 1 "umount of what is not mounted" \
    "$T/plain; in no mounted namespace; gnsfs status" \
    gnsfs umount "$T/plain"
settled
bad 1 "status of what is not mounted" "$T/plain; in no mounted namespace" \
    gnsfs status "$T/plain"
bad 1 "a path in no namespace" "$T/plain; gnsfs status" \
    gnsfs explain "$T/plain"
bad 1 "rescue from a folder of another kind" \
    "$T/plain; no state directory; cache= or state=" \
    gnsfs rescue "$T/plain" "$T/rescued"
bad 1 "rescue from nowhere" "$T/none; cache= or state=" \
    gnsfs rescue "$T/none" "$T/rescued"

start_mount "$home" "$m" "cache=$T/cache.m,lag=10ms"
settled
bad 1 "a mountpoint that is busy" "$m is mounted already; gnsfs umount" \
    gnsfs mount "$home" "$m" -o "cache=$T/cache.fresh"
bad 1 "with another namespace too" "$m is mounted already; gnsfs umount" \
    gnsfs mount "$(store_url file other)" "$m" -o "cache=$T/cache.fresh"
bad 1 "a cache folder in use" "$T/cache.m; in use; cache=DIR" \
    gnsfs mount "$home" "$T/n" -o "cache=$T/cache.m"
bad 1 "a namespace that is mounted" "corpus; takeover" \
    gnsfs mount "$home" "$T/n" -o "cache=$T/cache.fresh"
bad 1 "rescue from a mount" "$T/cache.m; in use" \
    gnsfs rescue "$T/cache.m" "$T/rescued"

# --- the commands ---
bad 1 "a second format" "corpus; gnsfs mount" gnsfs format "$home"
bad 1 "import of what there is not" "$T/stores/none; create it" \
    gnsfs import "file://$T/stores/none" "$m/none"
bad 2 "import for nobody" 'no user no-such-user' \
    gnsfs import "$lake" "$m/lake" --uid no-such-user
bad 2 "import with a mode that is none" '999; octal' \
    gnsfs import "$lake" "$m/lake" --mode 999
check "import" gnsfs import "$lake" "$m/lake"
settled
bad 1 "import where there is something" "lake; exists" \
    gnsfs import "$lake" "$m/lake"
bad 1 "import below an import" "/lake/sub; read-only; another path" \
    gnsfs import "$lake" "$m/lake/sub"
bad 2 "a store command that there is not" "store frob; add, ls, set; usage" \
    gnsfs store frob -n corpus
bad 2 "store add without a URL" 'a NAME and a URL; usage' \
    gnsfs store add lake2 -n corpus
bad 2 "store add of no URL" 'no URL; s3://BUCKET' \
    gnsfs store add lake2 bucket -n corpus
bad 1 "store add of a name in use" "'lake'; gnsfs store set" \
    gnsfs store add lake "$home" -n corpus
bad 2 "store add of a name that is none" "'a/b'; 1 to 64" \
    gnsfs store add a/b "$home" -n corpus
bad 1 "store add of no folder" "$T/stores/none; create it" \
    gnsfs store add lake2 "file://$T/stores/none" -n corpus
bad 1 "store rm of the home" "'home'; home" gnsfs store rm home -n corpus
bad 1 "store rm of what is needed" "'lake'; 2 objects; gnsfs find store:lake" \
    gnsfs store rm lake -n corpus
bad 1 "store check of what there is not" "'none'; gnsfs store ls" \
    gnsfs store check none -n corpus
bad 1 "a namespace that is not mounted" "'none'; gnsfs status" \
    gnsfs store ls -n none
bad 2 "pin of nothing" 'usage' gnsfs pin
bad 1 "pin of a path that there is not" "'/none'; no such file" \
    gnsfs pin "$m/none"
bad 1 "a pin that there is not" "'none'; gnsfs pins" \
    gnsfs unpin --name none -n corpus
bad 2 "a size that is none, in a selector" "'size>lots'; size>1G" \
    gnsfs find 'size>lots' --in "$m"
bad 2 "a filter that there is not" "'colour:red'; no filter; tag:" \
    gnsfs find 'colour:red' --in "$m"
bad 2 "a tag without a value" "KEY=VALUE" gnsfs tag add "$m/lake" red
bad 1 "a tag on what there is not" "corpus:/none; No such file" \
    gnsfs tag add "$m/none" a=b
bad 2 "a time that is none, in sync" "soon; 60s" gnsfs sync "$m" --timeout soon
bad 2 "a time that is none, in umount" "soon; 60s" \
    gnsfs umount "$m" --timeout soon
bad 2 "a time that is none, in pin" "soon; 12h" gnsfs pin "$m/lake" --ttl soon
bad 1 "explain of what there is not" "corpus:/none; No such file" \
    gnsfs explain "$m/none"
bad 1 "selectors from no file" "$T/none; No such file" \
    gnsfs find --from "$T/none" --in "$m"


# What the damaged homes are copies of: `home`, whose tree is a log, and
# `snapped`, whose is a snapshot with its pieces.
bytes 3000 >"$m/small"
bytes 4000000 >"$m/large"
check "sync" gnsfs sync "$m"
stop_mount "$m"
cp -a "$T/stores/home" "$T/stores/snapped"
start_mount "file://$T/stores/snapped" "$m"
n=0
while [ $n -lt 20 ]; do
	n=$((n + 1))
	touch "$m/touched$n"
	quiet gnsfs sync "$m" || bail "sync"
done
stop_mount "$m"
check "there is a snapshot" test -n "$(ls "$T/stores/snapped/snap")"

# --- a home that is none, or is damaged: on a copy, with a fresh state ---

# altered [FROM]: a copy of the home $T/stores/FROM to be altered; $A, $a.
altered()
{
	A=$T/stores/altered
	a=file://$A
	rm -rf "$A"
	cp -a "$T/stores/${1:-home}" "$A"
}

# flip FILE [OFFSET]: other bits in one byte, by default in the middle.
flip()
{
	python3 - "$@" <<-'EOF'
		import os, sys
		path = sys.argv[1]
		st = os.stat(path)
		with open(path, "r+b") as f:
		    f.seek(int(sys.argv[2]) if len(sys.argv) > 2
		        else st.st_size // 2)
		    b = f.read(1)
		    f.seek(-1, 1)
		    f.write(bytes([b[0] ^ 0x55]))
		os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
	EOF
}

# slot N: the segment's file in the altered home.
slot()
{
	printf '%s/log/0/%016x' "$A" "$1"
}

# first FOLDER: the altered home's first object in it.
first()
{
	find "$A/$1" -type f | LC_ALL=C sort | head -1
}

# damaged NAME 'WORDS; ...': mounting the altered home fails so.
damaged()
{
	settled
	bad 1 "$1" "$a; $2" mounting "$a"
}

mkdir -p "$T/stores/void"
settled
bad 1 "a folder that there is not" "$T/stores/none; create it" \
    mounting "file://$T/stores/none"
bad 1 "a folder that is no home" \
    "no namespace at file://$T/stores/void; gnsfs format" \
    mounting "file://$T/stores/void"
altered
sed -i 's/"format": 1/"format": 9/' "$A/gnsfs.json"
damaged "a newer format" "'corpus'; 9.; newer gnsfs"
altered
sed -i 's/"feature": [0-9]*/"feature": 99/' "$A/gnsfs.json"
damaged "a newer feature level" "'corpus'; .99; newer gnsfs"
altered
flip "$A/gnsfs.json" 0
damaged "gnsfs.json altered" 'gnsfs.json is damaged; restore'
altered
: >"$A/gnsfs.json"
damaged "gnsfs.json empty" 'gnsfs.json is damaged; restore'
altered snapped
flip "$A/MANIFEST" 0
damaged "MANIFEST altered" 'MANIFEST; damaged; restore'
altered snapped
sed -i 's/"watermark": *[0-9]*/"watermark": 999999/' "$A/MANIFEST"
check "MANIFEST has another watermark" grep -q 999999 "$A/MANIFEST"
damaged "a watermark beyond all snapshots" 'MANIFEST; damaged; restore'
altered
flip "$(slot 3)"
damaged "a segment altered" 'log/0/0000000000000003; damaged; restore'
altered
truncate -s 30 "$(slot 3)"
damaged "a segment truncated" 'log/0/0000000000000003; damaged; restore'
altered
: >"$(slot 3)"
damaged "a segment emptied" 'log/0/0000000000000003; damaged; restore'
altered
cp "$(slot 4)" "$(slot 3)"
damaged "a segment in another's slot" \
    'log/0/0000000000000003; segment 4; restore'
altered
rm "$(slot 3)"
damaged "a segment missing" 'log/0/0000000000000003; missing; restore'
altered other
cp "$T/stores/home/log/0/0000000000000002" "$(slot 2)"
damaged "a segment of another namespace" \
    'log/0/0000000000000002; follow; restore'
altered snapped
flip "$(first snap)"
damaged "a snapshot altered" 'snap/; damaged; restore'
altered snapped
truncate -s 20 "$(first snap)"
damaged "a snapshot truncated" 'snap/; damaged; restore'
altered snapped
rm "$(first snap)"
damaged "a snapshot missing" 'snap/; missing; restore'

# Of the snapshot each piece, of the import the first.
altered snapped
find "$A/piece" -type f | while read -r f; do flip "$f"; done
damaged "pieces of a snapshot altered" 'piece/; damaged; restore'
altered snapped
find "$A/piece" -type f -exec truncate -s 20 {} +
damaged "pieces of a snapshot truncated" 'piece/; damaged; restore'
altered snapped
find "$A/piece" -type f -delete
damaged "pieces of a snapshot missing" 'piece/; missing; restore'
altered
flip "$(first piece)"
damaged "a piece of an import altered" 'piece/; damaged; restore'
altered
rm "$(first piece)"
damaged "a piece of an import missing" 'piece/; missing; restore'
rm -rf "$A"

# --- this host's own: altered while it is not mounted ---

# stateful: a mount of the home with its cache in $T/state, all its bytes
# there, ended; $C is the cache, to be altered.
stateful()
{
	C=$T/state
	start_mount "$home" "$m" "cache=$C,lag=10ms"
	check "pinned" gnsfs pin "$m/" --wait
	sums "$m" >"$T/sums"
	stop_mount "$m"
	settled
}

# again: the same, mounted.
again()
{
	mounting "$home" "cache=$C"
}

# the_same NAME: all that was stored is there.
the_same()
{
	quiet again || { show_out; bail "$1"; }
	sums "$m" | diff "$T/sums" - >"$T/diff"
	check "$1" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"
	stop_mount "$m"
}

stateful
bad 1 "another namespace's cache folder" \
    "$C; 'corpus'; 'other'; cache=DIR" \
    mounting "$(store_url file other)" "cache=$C"
bad 1 "another namespace's, as state" "$C; 'corpus'; 'other'; cache=DIR" \
    mounting "$(store_url file other)" "state=$C,cache=$T/cache.fresh"
cp -a "$C" "$T/good"
flip "$C/home.json" 0
bad 1 "home.json altered" "$C/home.json; damaged; cache=DIR" again
rm -rf "$C" && cp -a "$T/good" "$C"
flip "$C/state.db" 0
bad 1 "the database altered" "$C/state.db; damaged; cache=DIR; keep" \
    again
truncate -s 5000 "$C/state.db"
bad 1 "the database truncated" \
    "$C/state.db; damaged; cache=DIR; keep" again
python3 -c 'import sys
f = open(sys.argv[1], "wb")
f.write(b"x" * 100000)' "$C/state.db"
bad 1 "a database that is none" \
    "$C/state.db; damaged; cache=DIR; keep" again
rm -rf "$C" && cp -a "$T/good" "$C"
python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 99")' \
    "$C/state.db"
bad 1 "a newer database" "$C/state.db; newer gnsfs" again
rm -rf "$C" && cp -a "$T/good" "$C"
python3 -c 'import sqlite3, sys
d = sqlite3.connect(sys.argv[1])
d.execute("UPDATE meta SET value = \"0\" WHERE key = \"uuid\"")
d.commit()' "$C/state.db"
bad 1 "a database of another namespace" "$C; another namespace; cache=DIR" \
    again
rm -rf "$C"
the_same "what was stored is there with an empty folder"

# Bytes: what is damaged is fetched again, and the log says so.
logged_damage()
{
	check "  and the log says so" grep -q "$1" "$C/gnsfs.log"
}

f=$(find "$C/data" -type f | head -1)
check "there is a backing file" test -n "$f"
flip "$f"
the_same "a backing file altered: not a wrong byte"
logged_damage "damaged chunk"
truncate -s 1500000 "$f"
the_same "a backing file truncated: not a wrong byte"
rm "$f"
the_same "a backing file missing: not a wrong byte"
python3 -c 'import sqlite3, sys
d = sqlite3.connect(sys.argv[1])
n = d.execute("UPDATE s_bytes SET data = zeroblob(length(data))").rowcount
d.commit()
assert n > 0' "$C/small.db"
the_same "small bytes altered: not a wrong one"
logged_damage "damaged small file"
flip "$C/small.db" 0
the_same "small.db altered: not a wrong byte"
rm "$C/small.db"
the_same "small.db missing: not a wrong byte"
rm -rf "$C"

# The store's own objects, altered behind its back.
find "$T/stores/home/data" -type f | while read -r f; do
	flip "$f" 100
	[ "$(stat -c %s "$f")" -lt 70000 ] || touch "$f"
done
C=$T/state
start_mount "$home" "$m" "cache=$C,io_timeout=3s"
settled

# unread FILE NAME 'WORDS; ...': of what the log says of it, too.
unread()
{
	logged=$(wc -l <"$C/gnsfs.log")
	bad 1 "$2" "$3" reading "$C/gnsfs.log" "$m/$1"
}

unread small "a pack altered" \
    'key="data/; not what was stored there; output error'
unread large "an object altered" 'key="data/; rc=changed; Stale'
stop_mount "$m"

# --- S3: names, keys, addresses ---
start_s3
s3_bucket corpus
s3_bucket lake
s3=$(s3_url corpus)
query="region=$AWS_REGION"
format_home "$s3"
settled

# s3_object KEY FILE: puts it.
s3_object()
{
	curl -s -f -T "$2" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
	    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
	    --aws-sigv4 "aws:amz:$AWS_REGION:s3" "$S3_ENDPOINT/$1" ||
	    bail "put of $1"
}

# to NAME URL_REST WORDS [VAR=VALUE...]: mount of s3://URL_REST fails.
unreached()
{
	_n=$1
	_u=$2
	_w=$3
	shift 3
	bad 1 "$_n" "$_w" env "$@" timeout 20 "$GNSFS" mount "s3://$_u" "$T/n" \
	    -o "cache=$T/cache.fresh"
}

at="endpoint=$S3_ENDPOINT&$query"
unreached "a bucket that there is not" "nobucket?$at" \
    "'nobucket'; NoSuchBucket; no such bucket; create it"
bad 1 "format in such a bucket" "'nobucket'; no such bucket; create it" \
    gnsfs format "s3://nobucket?$at"
unreached "a prefix that is no home" "corpus/none?$at" \
    "no namespace at s3://corpus/none; gnsfs format"
unreached "a wrong secret" "corpus?$at" \
    "'corpus'; SignatureDoesNotMatch; gnsfstes...; not the right one" \
    AWS_SECRET_ACCESS_KEY=wrong
unreached "a key that is not known" "corpus?$at" \
    "'corpus'; nobody...; not known; AWS_ACCESS_KEY_ID" \
    AWS_ACCESS_KEY_ID=nobody
unreached "no credentials" "corpus?endpoint=$S3_ENDPOINT&$query" \
    "no credentials were found; AWS_ACCESS_KEY_ID" \
    -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY HOME=/none \
    AWS_EC2_METADATA_DISABLED=true
unreached "a profile that there is not" "corpus?$at&profile=nobody" \
    "'corpus'; 'nobody'" -u AWS_ACCESS_KEY_ID HOME=/none \
    AWS_EC2_METADATA_DISABLED=true
unreached "another region" "corpus?endpoint=$S3_ENDPOINT&region=eu-west-9" \
    "'corpus'; us-east-1; region=" X=
unreached "nobody at the address" "corpus?endpoint=http://127.0.0.1:1&$query" \
    "127.0.0.1:1; keeps no state" X=
unreached "a host that there is not" \
    "corpus?endpoint=http://no-such-host.invalid&$query" \
    "no-such-host.invalid; keeps no state" X=
unreached "TLS where there is none" \
    "corpus?endpoint=https://127.0.0.1:$S3_PORT&$query" \
    "https://127.0.0.1; cannot be reached" X=

# --- a store that lies ---
: >"$T/lies"
spawn python3 "$TOP/test/mounted/liar.py" "$T/port" "$S3_PORT" "$T/lies" \
    "$S3_DIR/objects"
wait_for 10 test -s "$T/port" || bail "the liar does not start"
through="endpoint=http://127.0.0.1:$(cat "$T/port")&$query"

# lying LIE NAME WORDS: of gnsfs.json, at mount.
lying()
{
	echo "$1 GET /gnsfs.json" >"$T/lies"
	unreached "$2" "corpus?$through" "corpus; $3" X=
}

settled
lying short "gnsfs.json cut, its length not" 'gnsfs.json; '
lying shorter "gnsfs.json cut, and its length" 'gnsfs.json; '
lying moved "a redirect for ever" '301; endpoint='
lying found "a redirect for now" '307; endpoint='
lying error "200 and an error in the body" \
    'damaged, or not of a gnsfs namespace'
lying page "200 and somebody's page" 'damaged, or not of a gnsfs namespace'
lying badgate "502 and somebody's page" '502; '
lying skewed "a clock far off" 'RequestTimeTooSkewed; 2001; set the clock'
lying babble "no HTTP" '127.0.0.1; '
lying silent "no answer at all" '127.0.0.1; '
lying empty "a connection that ends at once" '127.0.0.1; '
echo "yes PUT /" >"$T/lies"
bad 1 "a store that ignores conditions" "If-None-Match; another store" \
    gnsfs format "s3://corpus/other?$through"
echo "skewed any /" >"$T/lies"
bad 1 "a clock far off, at format" 'RequestTimeTooSkewed; set the clock' \
    gnsfs format "s3://corpus/other?$through"
: >"$T/lies"

# lied_to LIE KEY FILE TRUTH NAME WORDS: of the object, which FILE's bytes are
# in: no byte that comes is a wrong one.
lied_to()
{
	wait_for 20 cmp "$3" "$4"
	logged=$(wc -l <"$T/cache.m/gnsfs.log")
	quiet gnsfs evict "$3"
	echo "$1 GET $2" >"$T/lies"
	bad 1 "$5" "$6" reading "$T/cache.m/gnsfs.log" "$3"
	check "  and no byte of it is wrong" cmp -n "$(stat -c %s "$T/read")" \
	    "$T/read" "$4"
	: >"$T/lies"
	wait_for 20 cmp "$3" "$4"
	check "  and all are there when it is honest" cmp "$3" "$4"
}

# misread LIE FILE NAME WORDS: of the import.
misread()
{
	lied_to "$1" "/lake/$2" "$m/lake/$2" "$S3_DIR/objects/lake/$2" "$3" \
	    "$4"
}

# untrue LIE EXTENT NAME: of our own object that has that extent of `ours`.
untrue()
{
	lied_to "$1" "$(key_of ours "$2")" "$m/ours" "$T/ours" "$3" \
	    'key="data/; off=; not what was stored there; Input/output error'
}

# key_of FILE EXTENT: in the server.
key_of()
{
	gnsfs --json explain "$m/$1" >"$T/json"
	echo "/corpus/$(json "$T/json" "j['extents'][$2]['key']")"
}

for n in one two; do
	head -c 3000000 /dev/urandom >"$T/$n"
	head -c 3000 /dev/urandom >"$T/small$n"
	s3_object lake/$n "$T/$n"
	s3_object lake/small-$n "$T/small$n"
done
rm -rf "$T/cache.m"
start_mount "s3://corpus?$through" "$m" \
    "cache=$T/cache.m,lag=10ms,io_timeout=3s"
check "import" gnsfs import "s3://lake?$through" "$m/lake"
settled
for n in endless nolist page error; do
	echo "$n GET list-type=2" >"$T/lies"
	bad 1 "import, where the list is: $n" 'lake; LIST' \
	    gnsfs import "s3://lake/sub?$through" "$m/$n"
done
echo "skewed any /lake" >"$T/lies"
bad 1 "store check, where clocks are far apart" \
    'RequestTimeTooSkewed; set the clock; gnsfs needs it; nothing of it' \
    gnsfs store check lake -n corpus
echo "yes PUT /lake" >"$T/lies"
bad 1 "store check, where conditions are ignored" \
    'put if absent is refused; all the same; gnsfs needs it; can be no home' \
    gnsfs store check lake --write -n corpus
: >"$T/lies"
settled
misread short one "half an object" 'key="one"; Input/output error'
misread shorter one "half an object, and it says so" \
    'key="one"; Input/output error'
misread swapped one "another object, truly" 'key="one"; another version'
misread error one "200 and an error for an object" \
    'key="one"; another version'
misread page one "a page for an object" 'key="one"; another version'
misread moved one "a redirect for an object" \
    'key="one"; 301; endpoint='
misread swapped small-one "another small object, truly" \
    'key="small-one"; another version'
misread shorter small-one "half a small object" \
    'key="small-one"; Input/output error'

# Large files of ours: the version is right, their sums tell.
for n in ours other; do
	head -c 3000000 /dev/urandom >"$T/$n"
	cp "$T/$n" "$m/$n"
done
s3_bucket spare
check "a store" gnsfs store add spare "$(s3_url spare)" -n corpus
check "sync" gnsfs sync "$m"
settled
untrue damaged 0 "an object of ours, altered"
untrue "as:$(key_of other 0)" 0 "another object of ours"
quiet gnsfs evict "$m/ours"
echo "damaged GET $(key_of ours 0)" >"$T/lies"
bad 1 "stage of an object of ours, altered" "'data/; not what was stored" \
    gnsfs stage "$m/ours" --to spare
check_rc 1 "pin --wait notices it" gnsfs pin "$m/ours" --wait
check_says "  and names the file" "ours: "
: >"$T/lies"
check "pin --wait, when it is honest" gnsfs pin "$m/ours" --wait
check "unpin" gnsfs unpin "$m/ours"
# a part of a chunk is another object's
dd if="$T/other" of="$T/ours" bs=5000 seek=300 count=1 conv=notrunc 2>"$T/out"
dd if="$T/other" of="$m/ours" bs=5000 seek=300 count=1 conv=notrunc 2>"$T/out"
check "sync" gnsfs sync "$m"
check_eq "a patch" "3 patch" "$(gnsfs --json explain "$m/ours" >"$T/json" &&
    json "$T/json" '"%d %s" % (j["nextents"], j["extents"][1]["kind"])')"
settled
untrue damaged 0 "an object of ours, patched, altered"
untrue damaged 1 "a patch, altered"
# and where there is a copy
check "stage" gnsfs stage "$m/ours" --to spare
check "sync" gnsfs sync "$m"
for n in 0 1; do
	quiet gnsfs evict "$m/ours"
	logged=$(wc -l <"$T/cache.m/gnsfs.log")
	echo "damaged GET $(key_of ours $n)" >"$T/lies"
	check "another store's bytes, where the first's are wrong" \
	    cmp "$m/ours" "$T/ours"
	check "  and the log says so" sh -c "tail -n +$((logged + 1)) \
	    '$T/cache.m/gnsfs.log' | grep -q 'not what was stored there'"
	: >"$T/lies"
done
gnsfs --json status "$m" >"$T/json"
check "status counts them" json "$T/json" \
    'exit(j["counters"]["bytes_wrong"] < 8)'

stop_mount "$m"
settled

say "$cases cases; the longest, $longest ms: $slowest"
finish
