#!/bin/sh
# timeout: 420
# stage: copies of files in other stores: S3 to Azure to Google Cloud to a
# directory (what of them can be started), with hashes equal at the end while a
# reader reads all of them in a loop; killed in the middle it goes on; each
# store stopped, reads go on from the others; a fresh mount sees all.
. "$(dirname "$0")/../lib.sh"

N=1000
[ -z "${GNSFS_TEST_SHORT:-}" ] || N=300
# Large files: each an object of its own, and more than a relay keeps.
LARGE="a b c"
BIG=70

begin
t0=$(now_ms)
start_s3
home=$(store_url s3 home) || bail "no home"
# Another mount with an empty cache is the reader; here reads miss.
clouds=
if azurite_start "$T/azurite" 0 >"$T/out" 2>&1 &&
    azurite_container lake >>"$T/out" 2>&1; then
	clouds="$clouds azure"
else
	show_out
	bail "azurite cannot be started"
fi
if gcs_start "$T/gcs" 0 >"$T/out" 2>&1 && gcs_bucket lake >>"$T/out" 2>&1
then
	clouds="$clouds gcs"
else
	show_out
	bail "fake-gcs-server cannot be started"
fi
CLOUDSDK_CONFIG=$T/gcloud
export CLOUDSDK_CONFIG
unset GOOGLE_APPLICATION_CREDENTIALS STORAGE_EMULATOR_HOST
_stop_clouds()
{
	azurite_stop
	gcs_stop
	_finish
}
trap _stop_clouds EXIT

m=$T/m
format_home "$home"
start_mount "$home" "$m" lag=100ms,io_timeout=10s
mkdir "$m/small" "$m/large"
python3 - "$m" $N <<'END'
import os, sys, random
m, n = sys.argv[1], int(sys.argv[2])
r = random.Random(5)
for i in range(n):
    with open(f'{m}/small/{i:04}', 'wb') as f:
        f.write(r.randbytes(r.randrange(1, 12000)))
END
for x in $LARGE; do
	head -c 5000001 /dev/urandom >"$m/large/$x"
done
head -c ${BIG}000001 /dev/urandom >"$m/large/big"
# and more objects than are copied at once
for i in $(seq 40); do
	head -c 100000 /dev/urandom >"$m/large/mid-$i"
done
sums "$m" >"$T/sums"
check "all is stored" "$GNSFS" sync "$m" --timeout 60s
mkdir -p "$T/here"
add()
{
	check "a store $1" "$GNSFS" -n "$m" store add "$1" "$2"
}
add azure "$(azurite_url lake/p)"
add gcs "$(gcs_url lake/p)"
add here "file://$T/here"
s3_bucket other || bail "no second bucket"
add other "$(s3_url other/p)"

# --- misuse ---

check_rc 2 "to which store must be said" "$GNSFS" stage "$m/small"
check_rc 1 "an unknown store is refused" "$GNSFS" stage "$m/small" --to none
check_says "and named" "no store 'none'"
check_rc 1 "so is a path that is not there" "$GNSFS" stage "$m/nil" --to here
mkdir -p "$T/lake" && echo theirs >"$T/lake/f"
check "an import" "$GNSFS" import "file://$T/lake" "$m/lake"
name=$("$GNSFS" -n "$m" --json store ls | python3 -c 'import json, sys
print([s["name"] for s in json.load(sys.stdin) if s["url"].endswith("/lake")
    and s["url"].startswith("file")][0])')
check_rc 1 "what others write gets no copies (B2)" \
    "$GNSFS" stage "$m/small" --to "$name"
check_says "and that is said" "only others write"

# --- a reader, in a loop, all the time ---

cat >"$T/reader.py" <<'END'
import hashlib, os, subprocess, sys, time
m, sums, gnsfs, stop = sys.argv[1:]
want = {}
for line in open(sums):
    h, name = line.rstrip('\n').split('  ', 1)
    want[name] = h
rounds = bad = 0
while not os.path.exists(stop):
    # what is read must come from a store
    subprocess.run([gnsfs, 'evict', m + '/small', m + '/large'],
        stdout=subprocess.DEVNULL)
    for name, h in want.items():
        try:
            with open(m + '/' + name, 'rb') as f:
                got = hashlib.file_digest(f, 'sha256').hexdigest() \
                    if hasattr(hashlib, 'file_digest') else \
                    hashlib.sha256(f.read()).hexdigest()
            if got != h:
                print('differs', name)
                bad += 1
        except OSError as e:
            print('fails', name, e)
            bad += 1
    rounds += 1
    time.sleep(0.2)
print('rounds', rounds, 'bad', bad)
sys.exit(bad != 0 or rounds == 0)
END
python3 "$T/reader.py" "$m" "$T/sums" "$GNSFS" "$T/stop" \
    >"$T/reader.out" 2>&1 &
reader=$!
echo $reader >>"$T/.spawned"

# staged TO: what of it was relayed, copied, in the JSON.
staged()
{
	quiet "$GNSFS" --json stage "$m/small" "$m/large" --to "$1"
	_rc=$?
	say "$(($(now_ms) - t0)) ms since the begin"
	cp "$T/out" "$T/$1.json"
	[ $_rc = 0 ] || show_out
	return $_rc
}

staged other && ok "to another bucket" || fail "to another bucket"
check_eq "by the server itself" "0 True" "$(json "$T/other.json" \
    '"%d %s" % (j["relayed"], j["copied"] > 70000000)')"
staged azure && ok "to Azure" || fail "to Azure"
check_eq "through this host" "True 0" "$(json "$T/azure.json" \
    '"%s %d" % (j["relayed"] > 70000000, j["copied"])')"
staged gcs && ok "to Google Cloud" || fail "to Google Cloud"
objects=$(json "$T/gcs.json" 'j["objects"]')
check_eq "every object once, packs as well" \
    "$(find "$T/s3/objects/home" -type f -path '*/data/*' | wc -l)" "$objects"
check_eq "of which each has many files" True "$(json "$T/gcs.json" \
    "44 < j['objects'] < $N / 2 + 44")"

# Each of them copies from what it has itself, though S3 is nearer.
for cloud in azure gcs; do
	add ${cloud}2 "$([ $cloud = gcs ] && gcs_url lake/q ||
	    azurite_url lake/q)"
	quiet "$GNSFS" --json stage "$m/large/a" --to ${cloud}2
	check_eq "$cloud copies by itself" "5000001 0" "$(json "$T/out" \
	    '"%d %d" % (j["copied"], j["relayed"])')"
done
staged here && ok "to a directory" || fail "to a directory"
check_eq "all of it through this host" "$objects True 0" \
    "$(json "$T/here.json" '"%d %s %d" % (j["objects"],
    j["relayed"] > 70000000, j["copied"])')"
quiet "$GNSFS" explain "$m/small/0001"
check_says "copies are told" "and in (azure, )?(gcs, )?here"
touch "$T/stop"
wait $reader
check_eq "the reader saw no error" 0 $?
say "$(tail -1 "$T/reader.out")"
grep -v '^rounds' "$T/reader.out" | head -5

# --- killed in the middle: what was done is not done again ---

here=$T/here2
there=$T/s3/objects/other/q

# whole DIR: the objects in it, without those that are half made.
whole()
{
	find "$1" -type f -path '*/data/*' ! -name '.gnsfs-tmp*' 2>/dev/null |
	    wc -l
}

some()
{
	[ "$(whole "$1")" -ge 3 ]
}

# The stage under way has moved a part of an object that is not done.
in_parts()
{
	"$GNSFS" status "$m" --json >"$T/status.json" 2>/dev/null
	[ "$(json "$T/status.json" \
	    "len([s for s in j['stages'] if s['moving'] > 0])" \
	    2>/dev/null)" = 1 ]
}

# killed STORE DIR FAULT SAYS: staging to it, slow by FAULT, is killed; SAYS: a
# count of what it moves when it goes on.
killed()
{
	stop_mount "$m"
	GNSFS_FAULT=$3
	export GNSFS_FAULT
	start_mount "$home" "$m" lag=100ms,io_timeout=10s
	unset GNSFS_FAULT
	"$GNSFS" --json stage "$m/large" "$m/small" --to "$1" \
	    >"$T/killed.json" 2>&1 &
	stage=$!
	if [ "$4" = relayed ]; then
		check "status counts bytes as they go" wait_for 30 in_parts
	fi
	wait_for 30 some "$2"
	kill_mount "$m"
	wait $stage
	check_eq "$1: it fails when the daemon is killed" 1 $?
	before=$(whole "$2")
	check "$1: in the middle: $before of $objects objects" \
	    [ "$before" -lt "$objects" ]
	start_mount "$home" "$m" lag=100ms,io_timeout=10s
	staged "$1" && ok "$1: asked again, it goes on" ||
	    fail "$1: asked again, it goes on"
	check_eq "$1: and every object is there once" "$objects" \
	    "$(whole "$2")"
	check_eq "$1: what was done is not done again" "True True True" \
	    "$(json "$T/$1.json" "'%s %s %s' % (j['seen'] + j['found'] > 0,
	    0 < j['$4'] < $total,
	    j['$4'] + j['found'] + j['seen'] >= j['want'])")"
	say "$(json "$T/$1.json" '[k + " %d" % j[k] for k in ("seen", "found",
	    "copied", "relayed")]') of $total"
	staged "$1" && ok "$1: and once more" || fail "$1: and once more"
	check_eq "$1: there is nothing left to do" "0 0" \
	    "$(json "$T/$1.json" '"%d %d" % (j["objects"], j["relayed"] +
	    j["copied"])')"
}

# not from a directory of this host, to which a directory copies by itself
mv "$T/here" "$T/gone"
mkdir "$here"
add here2 "file://$here"
add other2 "$(s3_url other/q)"
total=$(json "$T/here.json" 'j["relayed"]')
killed here2 "$here" "op=get,key=data/,delay=1000" relayed
rm -r "$here"
killed other2 "$there" "op=pull,delay=1000" copied
check "fsck" "$GNSFS" fsck "$m"
mv "$T/gone" "$T/here"

# --- stores that are gone ---

cp "$T/sums" "$T/sums.some"
[ -z "${GNSFS_TEST_SHORT:-}" ] ||
    grep -e large/ -e "0$" "$T/sums" >"$T/sums.some"

# same WHERE: all files from empty caches; in short form a tenth of the small.
same()
{
	_began=$(now_ms)
	quiet "$GNSFS" evict "$m/small" "$m/large"
	(cd "$m" && sed 's/^[^ ]*  //' "$T/sums.some" |
	    xargs -d '\n' sha256sum) >"$T/sums.now" 2>/dev/null
	say "$(($(now_ms) - _began)) ms"
	if cmp -s "$T/sums.some" "$T/sums.now"; then
		ok "$1"
	else
		fail "$1" "$(diff "$T/sums.some" "$T/sums.now" | head -4)"
	fi
}

# read_from TRACE: which stores gave data.
read_from()
{
	grep ' op=get ' "$1" | grep ' key=data/' |
	    sed 's/.* store=\([^ ?]*\).*/\1/' | sort -u | tr '\n' ' '
}

stop_mount "$m"
GNSFS_TRACE=$T/trace
export GNSFS_TRACE
start_mount "$home" "$m" lag=100ms,io_timeout=10s
unset GNSFS_TRACE
same "all of them, this host's first"
check_eq "only this host's was asked for bytes" "file://$T/here " \
    "$(read_from "$T/trace")"
mv "$T/here" "$T/gone"
: >"$T/trace"
same "this host's is gone"
check_eq "then only what is at the home's endpoint" "s3: " \
    "$(read_from "$T/trace" | tr ' ' '\n' | grep -v '^file:' |
    sed 's/:.*/:/' | sort -u | tr '\n' ' ')"
s3_stop
same "S3 is gone"
azurite_stop
same "Azure is gone"
s3_start "$T/s3" "$S3_PORT" >"$T/out" 2>&1 || bail "S3 does not come back"
gcs_stop
is_up()
{
	"$GNSFS" -n "$m" --json status >"$T/status.json" 2>/dev/null
	[ "$(json "$T/status.json" '[s["up"] for s in j["stores"]
	    if s["name"] == "home"][0]')" = True ]
}
check "S3 is seen to be back" wait_for 40 is_up
same "Google Cloud is gone, S3 is back"
mv "$T/gone" "$T/here"

# An object that says other bytes in one place is read from another (B5).
python3 - "$T/here" <<'END'
import os, sys
n = 0
for d, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(d, name), 'r+b') as f:
            f.write(b'not what was stored')
        n += 1
sys.exit(n == 0)
END
same "what this host's says is wrong"

# --- another host ---

stop_mount "$m"
rm -rf "$T/cache.m"
start_mount "$home" "$m" lag=100ms,io_timeout=10s
same "a fresh mount reads all"
quiet "$GNSFS" explain "$m/large/big"
check_says "and knows the copies" "and in .*gcs"
check "fsck there" "$GNSFS" fsck "$m"

# --- another namespace's object under the same key ---

# A small one, which is not looked for before by the mount, and a server that
# ignores the condition of a copy.
echo ours >"$m/tiny"
check "a small file" "$GNSFS" sync "$m" --timeout 30s
s3_bucket shared || bail "no third bucket"
check "a store shared" "$GNSFS" -n "$m" store add shared "$(s3_url shared/p)"
key=$(getfattr --only-values -n user.gnsfs.key "$m/tiny" 2>/dev/null)
theirs=$T/s3/objects/shared/p/${key#test/}
mkdir -p "$(dirname "$theirs")"
echo theirs >"$theirs"
check_rc 1 "a copy over it is refused" \
    "$GNSFS" stage "$m/tiny" --to shared
check_says "with what to do" "give each a prefix of its own"
check_eq "and it stays as it was" theirs "$(cat "$theirs")"

# --- a server that knows no checksums, and damages what it is given ---

cat >"$T/damages.py" <<'END'
import hashlib, http.server, sys
objects = {}
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a):
        pass
    def say(self, status, body=b'', **h):
        self.send_response(status)
        for k, v in h.items():
            self.send_header(k, v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)
    def do_PUT(self):
        b = self.rfile.read(int(self.headers['Content-Length']))
        b = bytes([b[0] ^ 1]) + b[1:]
        objects[self.path] = b
        print(self.path, flush=True)
        self.say(200, ETag='"%s"' % hashlib.md5(b).hexdigest())
    def do_GET(self):
        if 'list-type=' in self.path:
            return self.say(200, b'<ListBucketResult><IsTruncated>false'
                b'</IsTruncated></ListBucketResult>')
        b = objects.get(self.path.split('?')[0])
        if b is None:
            return self.say(404, b'<Error><Code>NoSuchKey</Code></Error>')
        h = {'ETag': '"%s"' % hashlib.md5(b).hexdigest()}
        if 'Range' not in self.headers:
            return self.say(200, b, **h)
        a, _, z = self.headers['Range'][6:].partition('-')
        z = min(int(z or len(b) - 1), len(b) - 1)
        h['Content-Range'] = 'bytes %s-%d/%d' % (a, z, len(b))
        self.say(206, b[int(a):z + 1], **h)
    do_HEAD = do_GET
    def do_DELETE(self):
        objects.pop(self.path, None)
        self.say(204)
s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
print(s.server_port, flush=True)
s.serve_forever()
END
python3 "$T/damages.py" >"$T/damages.out" 2>&1 &
echo $! >>"$T/.spawned"
wait_for 20 test -s "$T/damages.out"
check "a store damages" "$GNSFS" -n "$m" store add damages \
    "s3://lake/p?endpoint=http://127.0.0.1:$(head -1 "$T/damages.out")"
check_rc 1 "it is read back, and not believed" \
    "$GNSFS" stage "$m/tiny" --to damages
check_says "with the reason" "is not what was stored"
check_eq "what it has was put there, and again, to see what it does" 2 \
    "$(grep -c data/ "$T/damages.out")"
quiet "$GNSFS" explain "$m/tiny"
check_eq "no copy is recorded" 0 "$(grep -c damages "$T/out")"
stop_mount "$m"
