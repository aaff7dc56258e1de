# tags.sh: tags of objects as tags of files: versitygw, MinIO and Azurite, each
# tagged by its own SDK; stores that have none refuse.
# timeout: 300

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
py=$TOP/test/mounted/clouds.py
unset AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_SAS_TOKEN
unset AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET
trap '_rc=$?; azurite_stop; gcs_stop; (exit $_rc); _finish' EXIT

sdk=$(sdk_python) || bail "no SDKs"

# sdk CMD CLOUD [ARGS...]: by the cloud's own client.
sdk()
{
	_what=$1
	_cloud=$2
	shift 2
	S3_ENDPOINT=${S3_ENDPOINT:-} AZURITE_ENDPOINT=${AZURITE_ENDPOINT:-} \
	    "$sdk" "$py" "$_what" "$_cloud" lake "$@" >"$T/out" 2>&1 || {
		show_out
		bail "$_cloud: its SDK cannot $_what"
	}
}

# found TAG: the files that have it, below $in.
found()
{
	"$GNSFS" find "tag:$1" --in "$in" | sed "s|^$in/||" | LC_ALL=C sort |
	    tr '\n' ' '
}

# tags FILE
tags()
{
	"$GNSFS" tag ls "$in/$1" | sed 's/  .*//' | LC_ALL=C sort | tr '\n' ' '
}

# one CLOUD NAME URL: an empty bucket's.
one()
{
	cloud=$1
	in=$m/$2
	# shellcheck disable=SC2046
	sdk tag "$cloud" cat.jpg class=cat split=train dir/dog.jpg class=dog \
	    "split=a b+c" wolf.jpg class=wolf $(seq -f 'more/%g' 80)
	check "$2: import" "$GNSFS" import "$3" "$in" --tags
	check_says "  tells of tags" "^5 tags"
	check_eq "  they are found by selectors" "cat.jpg " \
	    "$(found class=cat)"
	check_eq "  whatever is in them" "dir/dog.jpg " \
	    "$(found 'split=a b+c')"
	check_eq "  and listed" "class=cat split=train " "$(tags cat.jpg)"
	check_eq "  what has none has none" "" "$(tags more/7)"
	# they are asked for again by a refresh, though no object changed
	"$GNSFS" tag add "$in/cat.jpg" mine=1
	sdk tag "$cloud" cat.jpg class=lion wolf.jpg bird.jpg class=bird
	check "  refresh" sh -c "'$GNSFS' refresh '$in' --json >'$T/r.json'"
	check_eq "  counts them" "[2, 2]" \
	    "$(json "$T/r.json" '[j["tags_set"], j["tags_removed"]]')"
	check_eq "  a changed one, one that went, and one's own" \
	    "class=lion mine=1 " "$(tags cat.jpg)"
	check_eq "  one of a new object" "bird.jpg " "$(found class=bird)"
	check_eq "  all of an object's went" "" "$(tags wolf.jpg)"
	check "  again, where nothing changed" sh -c \
	    "'$GNSFS' refresh '$in' --json >'$T/r.json'"
	check_eq "  nothing is done" "[0, 0]" \
	    "$(json "$T/r.json" '[j["tags_set"], j["tags_removed"]]')"
}

start_s3
azurite_start "$T/azurite" 0 >"$T/out" 2>&1 || bail "no Azurite"
gcs_start "$T/gcs" 0 >"$T/out" 2>&1 || bail "no fake-gcs-server"
s3_bucket lake && s3_bucket plain && gcs_bucket lake &&
    azurite_container lake || bail "buckets"
mkdir "$T/home"
format_home "file://$T/home" --name tagged
start_mount "file://$T/home" "$m" lag=10ms
one s3 versitygw "$(s3_url lake)"
check "an import that does not ask has none" "$GNSFS" import \
    "$(s3_url lake/dir)" "$m/plain"
check_eq "  it has none" "" "$(in=$m/plain tags dog.jpg)"
"$GNSFS" tag add "$m/plain/dog.jpg" mine=2
check "  nor has a refresh" "$GNSFS" refresh "$m/plain"
check_eq "  but one's own" "mine=2 " "$(in=$m/plain tags dog.jpg)"
check "  until it asks" sh -c \
    "'$GNSFS' refresh '$m/plain' --tags --json >'$T/r.json'"
check_eq "  which counts them" "[2, 0]" \
    "$(json "$T/r.json" '[j["tags_set"], j["tags_removed"]]')"
check_eq "  then it has" "class=dog mine=2 split=a b+c " \
    "$(in=$m/plain tags dog.jpg)"
sdk tag s3 dir/dog.jpg class=hound
check "  and from then on" "$GNSFS" refresh "$m/plain"
check_eq "  it follows them" "class=hound mine=2 " \
    "$(in=$m/plain tags dog.jpg)"

# --- a store that has none of them is refused before anything is done ---
check_rc 1 "R2 has no tags" "$GNSFS" import "$(s3_url plain)&dialect=r2" \
    "$m/r2" --tags
check_says "  it says so" "have no tags.*without --tags"
check "  nothing was imported" [ ! -e "$m/r2" ]
mkdir "$T/folder" && echo x >"$T/folder/x"
check_rc 1 "nor has a directory" "$GNSFS" import "file://$T/folder" \
    "$m/folder" --tags
check_says "  it says so" "have no tags"
check_rc 1 "nor has Google Cloud Storage" "$GNSFS" import "$(gcs_url lake)" \
    "$m/gcs" --tags
check_says "  it says so" "have no tags"
gcs_stop
check "a directory, without" "$GNSFS" import "file://$T/folder" "$m/folder"
check_rc 1 "  gets none by refresh" "$GNSFS" refresh "$m/folder" --tags
check_says "  it says so" "the store 'folder'.*have no tags"
check "  and goes on without" "$GNSFS" refresh "$m/folder"

one az azure "$(azurite_url lake)"
azurite_stop

# --- away in the middle ---
sdk tag s3 wolf.jpg class=tiger
s3_stop
check_rc 1 "a refresh while the store is away fails" "$GNSFS" refresh \
    "$m/versitygw"
in=$m/versitygw
check_eq "  and changes nothing" "" "$(tags wolf.jpg)"
s3_start "$S3_DIR" "$S3_PORT" >"$T/out" 2>&1 || bail "versitygw again"
wait_for 30 "$GNSFS" refresh "$in"
check_eq "  and then they are there" "class=tiger " "$(tags wolf.jpg)"
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
rm -rf "$T/cache.m"
start_mount "file://$T/home" "$m" lag=10ms
check_eq "a fresh host has them" "wolf.jpg " "$(found class=tiger)"
s3_stop

S3_SERVER=minio
s3_start "$T/minio" 0 >"$T/out" 2>&1 || { show_out; bail "no minio"; }
s3_bucket lake || bail "bucket"
one s3 minio "$(s3_url lake)"
stop_mount "$m"
s3_stop
finish
