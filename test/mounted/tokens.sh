# tokens.sh: tokens that end beneath a mount, on our GCS server, which wants
# them: in a pin that takes much longer than they last, and in the middle of an
# upload that breaks off as well.  Nobody sees it.
# timeout: 120

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
n=192
GCS_SERVER=strict
GCS_FLAGS="--auth 60 --rate 16"
start_gs
gcs_user "$T/user.json"
GOOGLE_APPLICATION_CREDENTIALS=$T/user.json
export GOOGLE_APPLICATION_CREDENTIALS
gcs_bucket lake && gcs_bucket out || bail "no buckets"

# set_server SETTINGS
set_server()
{
	curl -s -o "$T/out" "$GCS_ENDPOINT/set?$1" || bail "set $1"
}

# counted NAME: so many; see gcs_strict.py.
counted()
{
	gcs_counts >"$T/counts"
	json "$T/counts" "j['$1']"
}

# put N, same DIR N: the objects, and their files.
cat >"$T/objects.py" <<'END'
import os, sys, urllib.request
def data(i):
    return b"%d\n" % i * (40000 + 100 * i)
def put(n):
    for i in range(int(n)):
        urllib.request.urlopen(urllib.request.Request(
            os.environ["GCS_ENDPOINT"] + "/upload/storage/v1/b/lake/o"
            f"?uploadType=media&name=d/{i}", data=data(i), method="POST",
            headers={"Authorization": "Bearer " + os.environ["GCS_TOKEN"]}))
def same(folder, n):
    for i in range(int(n)):
        with open(f"{folder}/{i}", "rb") as f:
            assert f.read() == data(i), i
globals()[sys.argv[1]](*sys.argv[2:])
END
check "objects" env GCS_ENDPOINT="$GCS_ENDPOINT" GCS_TOKEN="$GCS_TOKEN" \
    python3 "$T/objects.py" put $n

set_server auth=4
home=$(store_url file home)
format_home "$home" --name tokens
start_mount "$home" "$m" lag=100ms
check "import" "$GNSFS" import "$(gcs_url lake)" "$m/lake"
check "a store" "$GNSFS" store add out "$(gcs_url out)&compose=off" -n "$m"
mkdir "$m/out"
check "for a folder" "$GNSFS" policy set "$m/out" store=out

# --- a pin ---
before=$(counted issued)
begun=$(now_ms)
check "a pin that takes long" "$GNSFS" pin "$m/lake" --wait
took=$(($(now_ms) - begun))
check "it took longer than two tokens last ($took ms)" [ $took -gt 10000 ]
gained=$(($(counted issued) - before))
check "there were several ($gained)" [ $gained -ge 3 ]
"$GNSFS" pins --json -n "$m" >"$T/pins"
check_eq "all of it is here" "True $n" "$(json "$T/pins" \
    "'%s %d' % (j[0]['have'] == j[0]['want'] > 0, j[0]['files'])")"
check "and right" python3 "$T/objects.py" same "$m/lake/d" $n

# --- an upload ---
set_server "auth=60&rate=0&revoke=5.5&break=5000000"
before=$(counted issued)
is_had()
{
	date +%N >"$m/out/small"
	"$GNSFS" sync "$m" && [ "$(counted issued)" -gt "$before" ]
}
# Each store has its own.
check "a token that lasts is had" wait_for 20 is_had
sleep 6			# old enough to be ended, and for another to be had
head -c 22000000 /dev/urandom >"$T/large"
check_eq "none was refused yet in an upload" 0 "$(counted refused_in_upload)"
cp "$T/large" "$m/out/large"
check "sync" "$GNSFS" sync "$m" --timeout 30s
check "a token ended in the middle" [ "$(counted refused_in_upload)" -ge 1 ]
check "evict" "$GNSFS" evict "$m/out"
check "the bytes are the same" cmp "$T/large" "$m/out/large"
check_eq "nothing failed meanwhile" 0 "$("$GNSFS" status "$m" --json \
    >"$T/status" && json "$T/status" 'j["pending"]["ops"]')"
check "fsck" "$GNSFS" fsck "$m"
stop_mount "$m"
finish
