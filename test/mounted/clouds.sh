# clouds.sh: one tree over three clouds: S3 (versitygw), Azure Blob (Azurite)
# and Google Cloud Storage (fake-gcs-server), each filled by its own SDK: the
# same bytes as that SDK sees, a pin across all three, and each of them stopped
# in turn while the others go on.  N=10000: so many objects each.
# timeout: 900

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
n=${N:-10000}
[ -z "${GNSFS_TEST_SHORT:-}" ] || n=${N:-200}
py=$TOP/test/mounted/clouds.py
CLOUDSDK_CONFIG=$T/gcloud
export CLOUDSDK_CONFIG
unset GOOGLE_APPLICATION_CREDENTIALS STORAGE_EMULATOR_HOST
unset AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_SAS_TOKEN
unset AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET
GCS_BACKEND=filesystem
trap '_rc=$?; azurite_stop; gcs_stop; (exit $_rc); _finish' EXIT

sdk=$(sdk_python) || bail "no SDKs"

# sdk CMD CLOUD [ARGS...]: by the cloud's own client.
sdk()
{
	_what=$1
	_cloud=$2
	shift 2
	S3_ENDPOINT=${S3_ENDPOINT:-} GCS_ENDPOINT=$GCS_ENDPOINT \
	    AZURITE_ENDPOINT=$AZURITE_ENDPOINT \
	    "$sdk" "$py" "$_what" "$_cloud" lake "$@"
}

cached()
{
	getfattr --only-values --absolute-names -n user.gnsfs.cached "$1"
}

# same CLOUD NAME: its import has the bytes that its SDK sees.
same()
{
	sums "$m/$1" 2>&1 | diff "$T/$1.sums" - >"$T/diff"
	check "$1: $2" sh -c "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
}

readable()
{
	dd if="$1" of=/dev/null bs=1M status=none
}

begun=$(date +%s)
start_s3
azurite_start "$T/azurite" 0 || bail "Azurite does not start"
gcs_start "$T/gcs" 0 || bail "fake-gcs-server does not start"
s3_bucket lake && azurite_container lake && gcs_bucket lake || bail "buckets"
# All at once: they are of three servers.
for cloud in s3 az gs; do
	(sdk put $cloud "$n" "$n$cloud" >"$T/put.$cloud" 2>&1 &&
	    sdk sums $cloud >"$T/$cloud.sums" 2>>"$T/put.$cloud") &
	eval "put_$cloud=$!"
done
for cloud in s3 az gs; do
	eval "wait \$put_$cloud" || {
		tail -5 "$T/put.$cloud" | sed 's/^/# /'
		bail "$cloud: its SDK cannot put, or get"
	}
	check_eq "$cloud: its SDK sees all" $((n + 1)) \
	    "$(wc -l <"$T/$cloud.sums")"
done
say "filled after $(($(date +%s) - begun)) s"

home=$(store_url file home)
format_home "$home"
start_mount "$home" "$m" io_timeout=5s
check "import s3" "$GNSFS" import "$(s3_url lake)" "$m/s3"
check "import az" "$GNSFS" import "$(azurite_url lake)" "$m/az"
check "import gs" "$GNSFS" import "$(gcs_url lake)" "$m/gs"
for cloud in s3 az gs; do
	begun=$(date +%s)
	same $cloud "what its own SDK sees"
	say "$cloud: read after $(($(date +%s) - begun)) s"
	same $cloud "and again, from here"
done

quiet "$GNSFS" evict "$m/*/part-3/**" "$m/*/large.bin"
check "a pin across all three" "$GNSFS" pin "$m/*/part-3/**" \
    "$m/*/large.bin" --wait
"$GNSFS" pins --json -n "$m" >"$T/pins"
check_eq "all of it is here" True "$(json "$T/pins" \
    "(j[0]['have'] == j[0]['want'] > 27000000 and
    j[0]['files'] == 3 * ($n // 10 + 1))")"
for cloud in s3 az gs; do
	check_eq "$cloud: what is pinned is" 100 "$(cached \
	    "$m/$cloud/large.bin")"
done

stop_one()
{
	case $1 in
	s3)	s3_stop ;;
	az)	azurite_stop ;;
	gs)	gcs_stop ;;
	esac
}

start_one()
{
	case $1 in
	s3)	s3_start "$S3_DIR" "$S3_PORT" ;;
	az)	azurite_start "$AZURITE_DIR" "$AZURITE_PORT" ;;
	gs)	gcs_start "$GCS_DIR" "$GCS_PORT" ;;
	esac
}

for down in s3 az gs; do
	check "evict some of each" "$GNSFS" evict "$m/*/part-6/**"
	stop_one $down >"$T/out" 2>&1 || bail "$down cannot be stopped"
	begun=$(now_ms)
	check_fails "$down is stopped: what is not here" \
	    readable "$m/$down/part-6/some folder/00000.bin"
	check "fails within 10 s" [ $(($(now_ms) - begun)) -lt 10000 ]
	for cloud in s3 az gs; do
		[ $cloud = $down ] || same $cloud "goes on without $down"
	done
	(cd "$m/$down" && find part-3 large.bin -type f | LC_ALL=C sort |
	    xargs -d '\n' sha256sum | sed 's|  |  ./|') >"$T/pinned" 2>&1
	grep -E '  \./(part-3/|large)' "$T/$down.sums" |
	    LC_ALL=C sort -k 2 | diff - "$T/pinned" >"$T/diff"
	check "$down: what is pinned is read on" sh -c \
	    "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
	check_eq "$down: its names are there" $((n + 1)) \
	    "$(find "$m/$down" -type f | wc -l)"
	check_rc 1 "$down: a refresh fails" "$GNSFS" refresh "$m/$down"
	check "and files are made meanwhile" sh -c "echo $down >'$m/$down.txt'"
	start_one $down >"$T/out" 2>&1 || {
		show_out
		bail "$down cannot be started again"
	}
	check "$down: it is back" wait_for 30 "$GNSFS" refresh "$m/$down"
	same $down "all of it again"
done
# --- moved to where each version is another (an ETag, a generation) ---
s3_bucket moved && azurite_container moved && gcs_bucket moved ||
    bail "more buckets"
"$GNSFS" -n "$m" --json store ls >"$T/stores.json"
store_of()
{
	json "$T/stores.json" \
	    "[s['name'] for s in j if s['url'].startswith('$1:')][0]"
}
for cloud in az gs; do
	S3_ENDPOINT=${S3_ENDPOINT:-} GCS_ENDPOINT=$GCS_ENDPOINT \
	    AZURITE_ENDPOINT=$AZURITE_ENDPOINT \
	    "$sdk" "$py" put $cloud moved "$n" "$n$cloud" >"$T/out" 2>&1 ||
	    bail "$cloud: its SDK cannot put"
	[ $cloud = az ] && url=$(azurite_url moved) || url=$(gcs_url moved)
	find "$m/$cloud" -type f -exec stat -c '%n %i' {} + |
	    LC_ALL=C sort >"$T/inodes"
	check "$cloud: its store moves" "$GNSFS" -n "$m" store set \
	    "$(store_of $cloud)" "$url"
	sdk rm $cloud "" >"$T/out" 2>&1 || bail "$cloud: its SDK cannot remove"
	quiet "$GNSFS" evict "$m/$cloud"
	same $cloud "where it is now"
	find "$m/$cloud" -type f -exec stat -c '%n %i' {} + |
	    LC_ALL=C sort | diff "$T/inodes" - >"$T/diff"
	check "$cloud: and no file is another" [ ! -s "$T/diff" ]
	check "$cloud: a refresh" sh -c \
	    "'$GNSFS' refresh '$m/$cloud' --json >'$T/refresh'"
	check_eq "$cloud: finds all of them as they are recorded" \
	    "$((n + 1)) 0" "$(json "$T/refresh" '"%d %d" % (j["same"] +
	    j["retimed"], j["changed"] + j["added"] + j["gone"])')"
done

# --- copies of what is imported, in a directory and in another cloud ---
mkdir "$T/here"
check "a directory" "$GNSFS" -n "$m" store add here "file://$T/here"
check "a part of another cloud" "$GNSFS" -n "$m" store add there \
    "$(s3_url moved/p)"
for cloud in s3 az gs; do
	for to in here there; do
		check "$cloud: staged to $to" sh -c "'$GNSFS' --json stage \
		    '$m/$cloud/part-5' '$m/$cloud/large.bin' --to $to \
		    >'$T/staged.json'"
		empty=$(find "$m/$cloud/part-5" -empty -type f | wc -l)
		check_eq "$cloud: all of its objects" True "$(json \
		    "$T/staged.json" "(j['files'] == j['objects'] + $empty and
		    j['seen'] == 0 and
		    j['relayed'] + j['copied'] == j['want'])")"
	done
done
# staged CLOUD WHAT: what was staged of it, from no cache, is right.
staged()
{
	quiet "$GNSFS" evict "$m/$1"
	(cd "$m/$1" && find part-5 large.bin -type f | LC_ALL=C sort |
	    xargs -d '\n' sha256sum | sed 's|  |  ./|') >"$T/staged" 2>&1
	grep -E '  \./(part-5/|large)' "$T/$1.sums" | LC_ALL=C sort -k 2 |
	    diff - "$T/staged" >"$T/diff"
	check "$1: $2" sh -c "head -5 '$T/diff'; [ ! -s '$T/diff' ]"
}
for cloud in az gs; do
	stop_one $cloud >"$T/out" 2>&1 || bail "$cloud cannot be stopped"
done
for cloud in az gs; do
	staged $cloud "away: its copies are read"
done
mv "$T/here" "$T/gone"
for cloud in az gs; do
	staged $cloud "and from S3, when the directory is gone"
done
mv "$T/gone" "$T/here"
stop_one s3 >"$T/out" 2>&1 || bail "s3 cannot be stopped"
for cloud in s3 az gs; do
	staged $cloud "all of them away, the directory is back"
done
check "sync" "$GNSFS" sync "$m" --timeout 30s
check "fsck" "$GNSFS" fsck "$m"
stop_mount "$m"
finish
