# creds.sh: AWS credentials on a mount, where AWS's own are: an instance's role
# at 169.254.169.254, a container's at 169.254.170.2, a web identity's and a
# profile's by STS; a host that has none; the issuer's outage.  In a network
# namespace of its own, that has those addresses.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
if [ -z "${CREDS_NETNS:-}" ]; then
	s3_install && (S3_SERVER=minio && s3_install) ||
	    { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
	CREDS_NETNS=1 exec unshare -n sh "$0" "$@"
fi
begin
ip link set lo up
# The store is not on loopback: there no instance is looked for.
for address in 10.99.99.99 169.254.169.254 169.254.170.2; do
	ip address add "$address/32" dev lo || bail "cannot add $address"
done
# Where nobody answers, and nothing says so.
ip link add silent type veth peer name peer && ip link set silent up &&
    ip link set peer up && ip address add 192.0.2.1/24 dev silent ||
    bail "no pair of interfaces"

S3_HOST=10.99.99.99
start_s3
home=$(store_url s3 home)
state=$T/issuer
mkdir "$state"
spawn env AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" \
    AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" \
    python3 "$TOP/test/mounted/creds.py" "$state" 169.254.169.254:80 \
    169.254.170.2:80 127.0.0.1:8099
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
GNSFS_TEST_TOOLS=$(servers_dir)
export GNSFS_TEST_TOOLS HOME="$T/nobody" no_proxy='*'
wait_for 10 curl -s -o /dev/null http://127.0.0.1:8099/ ||
    bail "the issuer does not start"
m=$T/m

# asked: what was asked of the issuer since the last time, on one line.
asked()
{
	tr '\n' ';' <"$state/asked"
	: >"$state/asked"
}

# works NAME: a mount by what credentials there are.
works()
{
	start_mount "$home" "$m" "cache=$T/c.$1,lag=100ms"
	check "$1: a file is written" cp /bin/ls "$m/$1"
	check "$1: and stored" "$GNSFS" sync "$m" --timeout 20s
	stop_mount "$m"
}

# --- an instance's role ---
asked >/dev/null
format_home "$home" --name creds
imds=169.254.169.254/latest
check_eq "the instance is asked by version 2" \
    "PUT $imds/api/token;GET $imds/meta-data/iam/security-credentials/;GET \
$imds/meta-data/iam/security-credentials/a-role;" "$(asked)"
works instance
start_mount "$home" "$m" "cache=$T/c.instance,lag=100ms"
asked >/dev/null
echo 500 >"$state/mode"
check "the service is ill: a file is written" cp /bin/ls "$m/ill"
check "and stored" "$GNSFS" sync "$m" --timeout 20s
rm "$state/mode"
stop_mount "$m"

# --- a container's, a web identity's ---
printf 'Basic dGFzaw==\n' >"$T/task"
export AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/1
export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="$T/task"
asked >/dev/null
works container
check_eq "the container's service is asked" 169.254.170.2 \
    "$(asked | sed 's/^GET \([0-9.]*\).*/\1/')"
echo wrong >"$T/task"
check_fails "a token that is not its own" "$GNSFS" format "$home"
check_says "is refused in words" \
    "container's credentials service at 169.254.170.2 answers 403"
unset AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
unset AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE

printf "the.pod's/token\n" >"$T/jwt"
export AWS_WEB_IDENTITY_TOKEN_FILE="$T/jwt"
export AWS_ROLE_ARN=arn:aws:iam::1:role/pod
export AWS_ENDPOINT_URL_STS=http://127.0.0.1:8099
asked >/dev/null
works web
check_eq "STS is asked" "POST 127.0.0.1:8099/" "$(asked | cut -d ';' -f 1)"
echo other >"$T/jwt"
check_fails "another's token" "$GNSFS" format "$home"
check_says "is refused in words" "answers 403 AccessDenied to a request"
unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN AWS_ENDPOINT_URL_STS

# --- nobody to ask ---
check_none()
{
	begun=$(now_ms)
	check_fails "$1: no credentials" "$GNSFS" format "$home"
	took=$(($(now_ms) - begun))
	check_says "$1: says what was looked at" "no AWS credentials: looked \
at AWS_ACCESS_KEY_ID .*$T/nobody/.aws/credentials.*169.254.169.254"
	check "$1: within 5 s ($took ms)" test $took -lt 5000
}
echo 404 >"$state/mode"
check_none "another cloud"
echo hang >"$state/mode"
check_none "a service that hangs"
ip address del 169.254.169.254/32 dev lo
check_none "no such network"
ip route add 169.254.169.254/32 dev silent
check_none "a network that is silent"
rm -f "$state/mode"
asked >/dev/null
S3_HOST=127.0.0.1
s3_stop
start_s3
local=$(store_url s3 other)
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
begun=$(now_ms)
check_fails "a store on loopback, unsigned" "$GNSFS" format "$local"
took=$(($(now_ms) - begun))
check_says "is told that it was" "no credentials were found, so the request \
was not signed"
check "and asks no instance ($took ms)" test $took -lt 1900

# --- a profile's role, by a token service that is none of ours ---
s3_stop
S3_SERVER=minio
s3_start "$T/minio" 0 >"$T/out" 2>&1 || bail "minio cannot be started"
home=$(store_url s3 home)
mkdir -p "$T/nobody/.aws"
cat >"$T/nobody/.aws/credentials" <<END
[base]
aws_access_key_id = $AWS_ACCESS_KEY_ID
aws_secret_access_key = $AWS_SECRET_ACCESS_KEY
END
cat >"$T/nobody/.aws/config" <<END
[profile train]
role_arn = arn:aws:iam::1:role/train
source_profile = base
duration_seconds = 900
region = us-east-1
END
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
export AWS_ENDPOINT_URL_STS="$S3_ENDPOINT"
home_by_url="$home&profile=train"
export AWS_PROFILE=train
format_home "$home" --name creds
works role
unset AWS_PROFILE
home=$home_by_url
works role-by-url
finish
