# deps.sh: installs what is missing, by the name of its Debian package.
#
#   sh test/deps.sh build     what building and running need
#   sh test/deps.sh test      and what the tests need on top of it
#
# For Debian 12 and 13 and Ubuntu 24.04.  Where nothing is missing it does
# nothing and needs no root.  "a|b" is whichever is there to be had.

BUILD="gcc libc6-dev make pkg-config fuse3 libfuse3-dev liburing-dev
libsqlite3-dev libcurl4-openssl-dev libssl-dev libzstd-dev libjansson-dev
libexpat1-dev ca-certificates"

TEST="check attr curl git rsync sqlite3 openssl python3 python3-venv procps
util-linux mount hostname iproute2 groff-base zsh zstd systemd clang
libclang-rt"

is_installed()
{
	case $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) in
	installed)	return 0 ;;
	*)		return 1 ;;
	esac
}

# real NAME: clang's runtime has clang's version in its name.
real()
{
	_real=
	[ "$1" != libclang-rt ] || _real=$(apt-cache depends clang 2>/dev/null |
	    sed -n 's/^ *Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' |
	    head -1)
	echo "${_real:-$1}"
}

# is_known PACKAGE: apt has one of this name.
is_known()
{
	apt-cache show "$1" >/dev/null 2>&1
}

# Prints those of the packages that are missing.
missing()
{
	for _one in "$@"; do
		_have=
		for _name in $(echo "$_one" | tr '|' ' '); do
			is_installed "$(real "$_name")" && _have=yes
		done
		[ -n "$_have" ] || echo "$_one"
	done
}

# Of "a|b", the first that apt knows; else the first.
choose()
{
	for _one in "$@"; do
		_choice=
		for _name in $(echo "$_one" | tr '|' ' '); do
			[ -z "$_choice" ] && is_known "$_name" && _choice=$_name
		done
		real "${_choice:-${_one%%|*}}"
	done
}

apt()
{
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
	    -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" >"$log" 2>&1
}

case ${1:-} in
build)	want=$BUILD ;;
test)	want="$BUILD $TEST" ;;
*)	echo "usage: sh test/deps.sh build|test" >&2
	exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps: this is no Debian or Ubuntu; install what these packages" \
	    "hold: $(echo $want)" >&2
	exit 1
fi
# shellcheck disable=SC2086 # words are what it is about
need=$(missing $want)
[ -n "$need" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "deps: missing: $(echo $need); run \`sh test/deps.sh $1\` as" \
	    "root, or: apt-get install $(choose $need | tr '\n' ' ')" >&2
	exit 1
fi
log=$(mktemp "${TMPDIR:-/tmp}/gnsfs-deps.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM HUP
echo "deps: installing $(echo $need)"
# The lists of a fresh machine are empty, those of an old one stale.
apt install --no-install-recommends $(choose $need) ||
    { apt update && apt install --no-install-recommends $(choose $need); } || {
	echo "deps: apt-get cannot install $(choose $need | tr '\n' ' '):" >&2
	tail -15 "$log" >&2
	exit 1
}
