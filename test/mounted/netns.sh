# netns.sh: one host at a time over a network: two daemons, each with its own
# state and its own network namespace, and an S3 server in a third.  The second
# is refused before it changes anything.  While the first is cut off, the
# second takes over; then the first finds itself fenced, and what it had not
# stored can still be read and copied out.  All that it may have sent before it
# knew is data, by a name of its own, that no record names.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
begin
a=$T/a
b=$T/b

# The namespaces have no names: with their last process they are gone, and with
# them the links.  The process ends when the test does, however that ends.
namespace()
{
	spawn unshare -n tail --pid=$$ -f /dev/null
	wait_for 10 another_net "$!" && inside "$!" ip link set lo up ||
	    bail "no network namespace can be made"
}

another_net()
{
	[ -e "/proc/$1/ns/net" ] && [ "$(readlink "/proc/$1/ns/net")" != \
	    "$(readlink /proc/self/ns/net)" ]
}

# inside PID CMD...
inside()
{
	_net=/proc/$1/ns/net
	shift
	nsenter --net="$_net" "$@"
}

# link PID NAME ADDRESS: from the server's namespace to that of PID.
link()
{
	inside "$server" ip link add "$2" type veth peer name eth0 \
	    netns "$1" &&
	    inside "$server" ip addr add 198.18.0.1 peer "$3" dev "$2" &&
	    inside "$server" ip link set "$2" up &&
	    inside "$1" ip addr add "$3" peer 198.18.0.1 dev eth0 &&
	    inside "$1" ip link set eth0 up ||
	    bail "no link can be made"
}

# mount_as HOST PID DIR OPTS: like start_mount, there.  Its status, and $T/out.
mount_as()
{
	_real=$GNSFS
	cat >"$T/as.$1" <<-END
		#!/bin/sh
		exec nsenter --net=/proc/$2/ns/net unshare -u sh -c \
		    'hostname "\$1" && shift && exec "\$@"' as $1 "$_real" "\$@"
	END
	chmod +x "$T/as.$1"
	GNSFS=$T/as.$1
	shift 2
	quiet try_mount "$url" "$@"
	_rc=$?
	GNSFS=$_real
	return $_rc
}

objects()
{
	(cd "$S3_DIR/objects/home" && find . -type f \
	    -exec sha256sum {} + | LC_ALL=C sort -k 2)
}

# unchanged NAME [EXCEPT]: the store is as $T/before says, but for new objects
# whose names begin so.
unchanged()
{
	objects | diff "$T/before" - | grep '^[<>]' |
	    grep -v "^> [0-9a-f]*  ${2:-none}" >"$T/diff"
	check "$1" sh -c \
	    "cat '$T/diff'; [ -s '$T/before' ] && [ ! -s '$T/diff' ]"
}

state()
{
	"$GNSFS" status "$1" --json >"$T/status.json"
	json "$T/status.json" 'j["write_state"]'
}

is_fenced()
{
	[ "$(state "$1")" = fenced ]
}

# read_only NAME CMD...: it fails with EROFS.
read_only()
{
	check_fails "$@"
	check_says "... as EROFS" '[Rr]ead-only'
}

namespace
server=$!
namespace
neta=$!
namespace
netb=$!
link "$neta" va 198.18.0.2
link "$netb" vb 198.18.0.3
S3_HOST=198.18.0.1
S3_IN="nsenter --net=/proc/$server/ns/net"
no_proxy=${no_proxy:+$no_proxy,}$S3_HOST
export no_proxy
start_s3
s3_bucket home || bail "no bucket"
url=$(s3_url home)
quiet inside "$neta" "$GNSFS" format "$url" || { show_out; bail "format"; }

mount_as hosta "$neta" "$a" lag=1h || { show_out; bail "the first mount"; }
check_eq "the first may write" writable "$(state "$a")"
echo stored >"$a/stored"
check "it stores" "$GNSFS" sync "$a"
mkdir "$a/dir"
head -c 3000000 /dev/urandom >"$T/large"
echo "not stored" >"$T/small"
cp "$T/small" "$a/small"

# --- refused ---
objects >"$T/before"
mount_as hostb "$netb" "$b"
check_eq "the second is refused" 1 $?
check_says "and told which one has it" hosta
check_fails "it is not mounted" is_mounted "$b"
unchanged "every object is as it was"
check_eq "the first goes on" writable "$(state "$a")"

# --- taken over, while the first is cut off ---
inside "$neta" ip link set eth0 down
cp "$T/large" "$a/dir/large"
cp "$T/small" "$a/dir/small"
mount_as hostb "$netb" "$b" takeover || { show_out; bail "takeover"; }
ok "with takeover it is not refused"
check_eq "it has what was stored" stored "$(cat "$b/stored")"
check_fails "and nothing else" stat "$b/small"
check "it writes" sh -c "echo new >'$b/new'"
check "and stores" "$GNSFS" sync "$b"
objects >"$T/before"
inside "$neta" ip link set eth0 up
check "the first finds itself fenced" wait_for 60 is_fenced "$a"
sleep 1				# what was on its way
unchanged "it changed no object and added no record" ./data/
objects >"$T/before"
check "status is told" "$GNSFS" status "$a"
check_says "... and says so" fenced
check_says "... and by whom" hostb
read_only "it refuses to make a file" touch "$a/after"
read_only "to append to one" sh -c "echo x >>'$a/small'"
read_only "to truncate one" truncate -s 0 "$a/dir/large"
read_only "to unlink" rm -f "$a/dir/small"
read_only "to rename" mv "$a/small" "$a/smaller"
read_only "to make a directory" mkdir "$a/dir2"
check "what it holds is read: a large file" cmp "$T/large" "$a/dir/large"
check "a small one" cmp "$T/small" "$a/dir/small"
check "and an older one" cmp "$T/small" "$a/small"
check_rc 1 "its unmount says that there is more" "$GNSFS" umount "$a"
check_fails "it is off" is_mounted "$a"
rm -f "$(_slot "$a")"
unchanged "and nothing was sent any more"

# --- copied out ---
check "rescue" "$GNSFS" rescue "$T/cache.a" "$T/rescued"
check "it has the large one" cmp "$T/large" "$T/rescued/dir/large"
check "the small one" cmp "$T/small" "$T/rescued/dir/small"
check "and the older one" cmp "$T/small" "$T/rescued/small"
check_fails "not what is stored" stat "$T/rescued/stored"
check_eq "the second goes on" writable "$(state "$b")"
check "fsck finds one digest" "$GNSFS" fsck "$b"
stop_mount "$b"
finish
