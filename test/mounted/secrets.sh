# secrets.sh: what nobody may see is nowhere to be seen: not in what commands
# say, the log, the trace, arguments, the environment of the daemon and of what
# is started, the state directory, nor the home.  Three clouds, each with its
# credentials.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
own_mounts "$@"
begin
cd "$TOP" || exit 1		# servers.sh starts ours from here
start_s3
azurite_start "$T/azurite" 0 && azurite_container lake ||
    bail "azurite cannot be started"
trap_servers()
{
	gcs_stop
	azurite_stop
	_finish
}
trap trap_servers EXIT
GCS_SERVER=strict
GCS_FLAGS="--auth 3600"
gcs_start "$T/gcs" 0 || bail "the GCS server cannot be started"
GCS_TOKEN=$(curl -s "$GCS_ENDPOINT/token" |
    sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
gcs_bucket lake || bail "no bucket"
printf '{"type":"authorized_user","client_id":"i","client_secret":"%s",
    "refresh_token":"%s","token_uri":"%s/token"}' gcs-client-s3cr3t \
    gcs-refresh-s3cr3t "$GCS_ENDPOINT" >"$T/user.json"
GOOGLE_APPLICATION_CREDENTIALS=$T/user.json
export GOOGLE_APPLICATION_CREDENTIALS
sas=$(azurite_sas)
unset AZURE_STORAGE_KEY
export AZURE_STORAGE_SAS_TOKEN="$sas"

# needles: each secret, as it is, percent-encoded, in base64 and in hex.
python3 - >"$T/needles" "$AWS_SECRET_ACCESS_KEY" "$azurite_key" \
    "${sas##*sig=}" gcs-client-s3cr3t gcs-refresh-s3cr3t \
    gcs-t0ken-s3cr3t- az-client-s3cr3t \
    az-federated-s3cr3t wrong-s3cr3t <<'END'
import base64, sys, urllib.parse
for secret in sys.argv[1:]:
	raw = secret.encode()
	print(secret)
	print(urllib.parse.quote(secret, safe=""))
	print(urllib.parse.unquote(secret))
	print(base64.b64encode(raw).decode().rstrip("="))
	print(raw.hex())
END
# What a request is signed with, but for the words that say how that looks.
signed='(X-Amz-Signature|X-Goog-Signature|[?&; ]sig)(=|%3[Dd])[A-Za-z0-9%]'
# seen FILE...: the files in which one is.
seen()
{
	{
		grep -laF -f "$T/needles" -r "$@"
		grep -laE -e "$signed" -r "$@"
	} 2>/dev/null | sort -u
}
echo "the secret is $AWS_SECRET_ACCESS_KEY" >"$T/planted"
check_eq "a planted one is found" "$T/planted" "$(seen "$T/planted")"
for word in 'GET /b/k?X-Amz-Signature=0f' 'k?X-Goog-Date=1&X-Goog-Signature=a' \
    'https://a/c/k?sv=1&sig=Zm9v' gcs-t0ken-s3cr3t-17; do
	echo "$word" >"$T/planted"
	check_eq "so is $word" "$T/planted" "$(seen "$T/planted")"
done

# --- a fake fusermount3, that tells of its environment ---
mkdir "$T/bin" "$T/env"
chmod 777 "$T/env"
cat >"$T/bin/fusermount3" <<END
#!/bin/sh
env >>$T/env/child
exec $(command -v fusermount3) "\$@"
END
chmod 755 "$T/bin/fusermount3"

home=$(store_url s3 home)
m=$T/m
said=$T/said
# run WORDS: a command, whose words are kept.
run()
{
	echo "== $*" | sed 's/wrong-s3cr3t/.../g' >>"$said"
	"$GNSFS" "$@" >>"$said" 2>&1
}

# --- everything that talks ---
run format "$home" --name secrets || bail "format: $(tail -1 "$said")"
GNSFS_TRACE=$T/trace
export GNSFS_TRACE
for round in plain debug; do
	opts=cache=$T/cache,lag=100ms
	[ $round = plain ] || opts=$opts,debug,log=$T/debug.log
	start_mount "$home" "$m" "$opts"
	cp "$T/out" "$T/mount.$round"
	pid=$(mount_pid "$m")
	if [ $round = plain ]; then
		run store add az "$(azurite_url lake)" -n "$m" ||
		    fail "store add az"
		run store add gs "$(gcs_url lake)" -n "$m" ||
		    fail "store add gs"
	fi
	for store in home az gs; do
		check "$round: store check $store" "$GNSFS" store check \
		    $store --write -n "$m"
		cat "$T/out" >>"$said"
	done
	mkdir "$m/$round"
	head -c 3000000 /dev/urandom >"$m/$round/large"
	echo small >"$m/$round/small"
	run sync "$m" || fail "$round: sync"
	# Presigned URLs, shared access signatures, sources in headers: where
	# stores copy by themselves, and where that does not go well.
	if [ $round = plain ]; then
		run store add az2 "$(azurite_url lake/p)" -n "$m"
		run store add gs2 "$(gcs_url lake/p)" -n "$m"
		run store add s32 "$(s3_url home/p)" -n "$m"
	fi
	for store in az2 gs2 s32; do
		run stage "$m/$round" --to $store ||
			fail "$round: stage to $store"
	done
	run import "$(gcs_url lake)" "$m/$round/gs" --report
	run import "$(azurite_url lake)" "$m/$round/az" --report
	run pin "$m/$round" --wait
	run status "$m"
	run status --json "$m"
	run store ls --json -n "$m"
	run pins --json "$m"
	run find --all --json -n "$m"
	run explain "$m/$round/large" --json
	run fsck "$m"
	run store add bad -n "$m" \
	    's3://b?endpoint=http://127.0.0.1:1&secret=wrong-s3cr3t'
	run store add bad 's3://x:wrong-s3cr3t@b/p' -n "$m"
	tr '\0' '\n' <"/proc/$pid/cmdline" >"$T/cmdline.$round"
	tr '\0' '\n' <"/proc/$pid/environ" >"$T/environ.$round"
	check "$round: the arguments are those of a mount" \
	    grep -qxF "$home" "$T/cmdline.$round"
	check "$round: the environment is there" grep -q ^AWS_ACCESS_KEY_ID= \
	    "$T/environ.$round"
	if [ $round = plain ]; then
		check "no core is written" sh -c \
		    "grep -q '^Max core file size *0  *0 ' /proc/$pid/limits"
	fi
	getfattr -d -m - --absolute-names "$m/$round/large" >>"$said" 2>&1
	for x in cached pinned dirty store key etag control; do
		getfattr -n user.gnsfs.$x --absolute-names \
		    "$m/$round/large" >>"$said" 2>&1
	done
	stop_mount "$m"
done
# What is wrong is said without it.
for secret in AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN; do
	(eval "export $secret=wrong-s3cr3t"
	run mount "$home" "$m" -o "cache=$T/cache4")
done
(export AZURE_STORAGE_SAS_TOKEN="sv=1&sig=wrong-s3cr3t"
run format "$(azurite_url lake/other)")
(export AZURE_STORAGE_CONNECTION_STRING="AccountKey=wrong-s3cr3t"
run format "$(azurite_url lake/other)")
# An issuer that says in its refusal what it was asked with.
cat >"$T/echo.py" <<'END'
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        open(sys.argv[1] + ".asked", "ab").write(said + b"\n")
        said = b'{"error":"invalid_client","error_description":"%s"}' % said
        self.send_response(401)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *args):
        pass
s = http.server.HTTPServer(("127.0.0.1", 0), Echo)
open(sys.argv[1], "w").write(str(s.server_address[1]))
s.serve_forever()
END
spawn python3 "$T/echo.py" "$T/echo"
wait_for 10 test -s "$T/echo" || bail "no issuer"
printf az-federated-s3cr3t >"$T/federated"
for how in SECRET FEDERATED; do
	(unset AZURE_STORAGE_SAS_TOKEN
	export AZURE_TENANT_ID=t AZURE_CLIENT_ID=c
	export AZURE_AUTHORITY_HOST="http://127.0.0.1:$(cat "$T/echo")"
	case $how in
	SECRET)	export AZURE_CLIENT_SECRET=az-client-s3cr3t ;;
	*)	export AZURE_FEDERATED_TOKEN_FILE="$T/federated" ;;
	esac
	run format "$(azurite_url lake/other)")
done
check_eq "the issuer was given both" 2 \
    "$(grep -cE 'az-(client|federated)-s3cr3t' "$T/echo.asked")"
printf '{"type":"authorized_user","client_id":"i","client_secret":"%s",
    "refresh_token":"wrong-s3cr3t","token_uri":"http://127.0.0.1:1/"}' \
    wrong-s3cr3t >"$T/wrong.json"
(export GOOGLE_APPLICATION_CREDENTIALS="$T/wrong.json"
run format "$(gcs_url lake/other)")
printf '[default]\naws_secret_access_key = %s\nnonsense %s' wrong-s3cr3t \
    wrong-s3cr3t >"$T/credentials"
(unset AWS_SECRET_ACCESS_KEY
export AWS_SHARED_CREDENTIALS_FILE="$T/credentials"
run format "$home")
check "there was a refusal for each" \
    test "$(grep -cE '^gnsfs( [a-z]+)?: ' "$said")" -ge 10

# --- as a user, whose mounts another program makes and takes off ---
unset GNSFS_TRACE		# the file is root's
s3_bucket user >/dev/null
uhome=$(s3_url user)
mkdir "$T/um" "$T/ucache"
chown 65534:65534 "$T/um" "$T/ucache"
chmod 755 "$T"
chmod 644 "$T/user.json"
USER_HOME=$T/ucache
fuse_for_all
user_mounts()
(
	set -e
	PATH=$T/bin:$PATH
	as_user "$GNSFS" format "$uhome" --name user
	as_user "$GNSFS" mount "$uhome" "$T/um" -o "cache=$T/ucache/c"
	as_user sh -c 'echo mine >"$1/mine"; "$2" sync "$1"' - "$T/um" "$GNSFS"
	as_user "$GNSFS" status "$T/um" --json >"$T/ustatus"
	pid=$(sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' "$T/ustatus")
	grep -q '^Uid:.65534.65534' "/proc/$pid/status"
	stat -c %U "/proc/$pid/environ" >"$T/owner"
	if as_user cat "/proc/$pid/environ" >/dev/null 2>&1; then
		echo "the user reads the daemon's environment"
		exit 1
	fi
	as_user "$GNSFS" umount "$T/um"
)
check "a user mounts, writes and unmounts" user_mounts
cat "$T/out" >>"$said"
check_eq "the daemon's memory is nobody's to read" root "$(cat "$T/owner")"
check "it was unmounted by another program" test -s "$T/env/child"

# --- nowhere ---
mkdir "$T/unpacked"
python3 - "$S3_DIR/objects" "$T/unpacked" <<'END'
import os, subprocess, sys
n = 0
for top, dirs, files in os.walk(sys.argv[1]):
	for name in files:
		data = open(os.path.join(top, name), "rb").read()
		at = data.find(b"\x28\xb5\x2f\xfd")
		if at < 0:
			continue
		out = subprocess.run(["zstd", "-dcq"], input=data[at:],
		    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
		open(os.path.join(sys.argv[2], str(n)), "wb").write(out)
		n += 1
END
check "the log's segments can be read" grep -qrF "$AZURITE_ENDPOINT" \
    "$T/unpacked"
for where in said cmdline.plain cmdline.debug environ.plain environ.debug \
    env/child trace debug.log cache ucache unpacked s3/objects; do
	check "there is something to look at in $where" test -s "$T/$where"
	check_eq "no secret in $where" "" "$(seen "$T/$where")"
done
check_eq "nor in what mount says" "" "$(seen "$T"/mount.*)"
check_eq "nor in what the system keeps of mounts" "" \
    "$(seen /proc/self/mountinfo; seen /run/gnsfs)"
finish
