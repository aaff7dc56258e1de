# fromurl.sh: stage from S3 and from GCS to Azure Blob where its service
# fetches the bytes itself, by URLs that we signed: versitygw checks the one
# (AWS4-HMAC-SHA256), our GCS server the other (GOOG4-RSA-SHA256), each as the
# protocol says, and a stand-in before Azurite really gets them.
# timeout: 120

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
start_s3
start_az
url=$(store_url az lake)
spawn python3 "$TOP/test/mounted/fromurl.py" "$T/port" "$AZURITE_PORT" \
    "$(azurite_sas)" "$T/fetched"
wait_for 10 test -s "$T/port" || bail "the stand-in does not start"
az="az://$AZURE_STORAGE_ACCOUNT/lake?endpoint=http://127.0.0.1:$(cat \
    "$T/port")/$AZURE_STORAGE_ACCOUNT"
: >"$T/fetched"

# A service account, whose key signs, and the server that knows it.
openssl genrsa 2048 2>/dev/null | openssl pkcs8 -topk8 -nocrypt \
    >"$T/key.pem" && openssl rsa -in "$T/key.pem" -pubout >"$T/public.pem" \
    2>/dev/null || bail "no key"
GCS_SERVER=strict
GCS_FLAGS="--auth 3600 --signer robot@example.test=$T/public.pem"
start_gs
GCS_TOKEN=$(curl -s "$GCS_ENDPOINT/token" |
    sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
python3 -c 'import json, sys
print(json.dumps({"type": "service_account", "private_key_id": "k",
    "client_email": "robot@example.test", "token_uri": sys.argv[2] + "/token",
    "private_key": open(sys.argv[1]).read()}))' "$T/key.pem" \
    "$GCS_ENDPOINT" >"$T/robot.json"
GOOGLE_APPLICATION_CREDENTIALS=$T/robot.json
export GOOGLE_APPLICATION_CREDENTIALS

home=$(store_url file home)
format_home "$home" --name fromurl
start_mount "$home" "$m" lag=100ms
check "a store az" "$GNSFS" store add az "$az" -n "$m"
for k in s3 gs; do
	there=$(store_url $k "lake/p q+ä(1)~")
	check "a store $k" "$GNSFS" store add $k "$there" -n "$m"
	mkdir "$m/$k"
	check "for a folder" "$GNSFS" policy set "$m/$k" store=$k
	for size in 70000 3000000 20000001; do
		head -c $size /dev/urandom >"$m/$k/$size"
	done
	seq 1 1000 >"$m/$k/small"
done
check "sync" "$GNSFS" sync "$m" --timeout 60s
sums "$m" >"$T/sums"

for k in s3 gs; do
	check "$k: stage" "$GNSFS" stage "$m/$k" --to az --json
	cp "$T/out" "$T/said"
	say "$k: $(tr -d '\n' <"$T/said" | cut -c 1-200)"
	check_eq "$k: all by the service itself" "True 0" "$(json "$T/said" \
	    "'%s %d' % (j['copied'] > 23000000, j['relayed'])")"
done
check_eq "the service got each by its URL" 8 "$(grep -c '^blob 200 ' \
    "$T/fetched")"
check_eq "and was never refused" "" "$(grep -v '^blob 200 ' "$T/fetched")"
check "URLs of S3 are signed" grep -q 'X-Amz-Signature=' "$T/fetched"
check "and those of GCS" grep -q 'X-Goog-Signature=' "$T/fetched"

# The servers look: a URL for another object, or later, is none.
got()
{
	curl -s -o "$T/got" -w '%{http_code}' "$1"
}
for k in Amz Goog; do
	one=$(sed -n "s/^blob 200 \(.*X-$k-Signature=.*\)/\1/p" "$T/fetched" |
	    head -1)
	check_eq "$k: the URL is good" 200 "$(got "$one")"
	check_eq "$k: for no other object" 403 "$(got "$(echo "$one" |
	    sed 's|/data/|/dat4/|')")"
	check_eq "$k: for no longer" 403 "$(got "$(echo "$one" |
	    sed 's|Expires=[0-9]*|Expires=600000|')")"
	check_eq "$k: with no other signature" 403 "$(got "$(echo "$one" |
	    sed 's|-Signature=....|-Signature=0123|')")"
done

# Of the bytes that were copied so, each is right.
s3_stop
gcs_stop
check "evict" "$GNSFS" evict "$m"
sums "$m" | diff "$T/sums" - >"$T/diff"
check "Azure has every byte" sh -c "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
check "fsck" "$GNSFS" fsck "$m"
stop_mount "$m"
finish
