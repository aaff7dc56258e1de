# cleanroot.sh [CMD...]: the two commands of a fresh machine, in a clean root.
#
# Makes a minimal Debian with debootstrap (SUITE=bookworm, or trixie) in a
# scratch folder, copies the tree and this host's client configuration of
# package registries into it (mirrors, certificates, proxies: whatever makes
# apt, pip, go and cargo work here), and runs there test/demo.sh and then
# test/all.sh, or CMD.  As root.  The folder is removed, and all that was
# mounted in it taken off, however it ends.
#
# CLEANROOT_BASE=FILE keeps the bare root as a tar archive there, or uses the
# one that is there, so that a second run begins at once.

cd "$(dirname "$0")/.." || exit 1
SUITE=${SUITE:-bookworm}
top=$PWD
root=

die()
{
	echo "cleanroot: $*" >&2
	exit 1
}

cleanup()
{
	_rc=$?
	trap - EXIT
	trap '' INT TERM HUP
	cd /
	if [ -n "$root" ]; then
		# Those that run in there, then what is mounted in there.
		for _proc in /proc/[0-9]*; do
			case $(readlink "$_proc/root" 2>/dev/null) in
			"$root"|"$root"/*)
				kill -KILL "${_proc#/proc/}" 2>/dev/null ;;
			esac
		done
		awk -v root="$root/" 'index($5 "/", root) == 1 { print $5 }' \
		    /proc/self/mountinfo | sort -r | while read -r _dir; do
			umount "$_dir" 2>/dev/null || umount -l "$_dir"
		done
		rm -rf --one-file-system "$root"
	fi
	exit $_rc
}

# The mirror this host uses for Debian, from sources in either format.
mirror()
{
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
	    /etc/apt/sources.list.d/*.sources 2>/dev/null |
	    sed -nE 's/^deb (\[[^]]*\] )?([^ ]*debian\/?) .*/\2/p
	    s/^URIs: *([^ ]*debian\/?) *$/\1/p' | head -1
}

# put FILE...: copies what exists, to the same place.
put()
{
	for _file in "$@"; do
		[ -e "$_file" ] || continue
		mkdir -p "$root/$(dirname "$_file")"
		cp -aL "$_file" "$root/$(dirname "$_file")/"
	done
}

# Shell lines that set the variables by which clients find their registries.
client_env()
{
	env | grep -E '^(GO(PROXY|FLAGS|NOSUMDB|SUMDB|PRIVATE|TOOLCHAIN)'\
'|PIP_[A-Z_]*|UV_[A-Z_]*|NPM_CONFIG_[A-Z_]*|npm_config_[a-z_]*|CARGO_[A-Z_]*'\
'|[a-zA-Z]*_(proxy|PROXY)|SSL_CERT_(FILE|DIR)|CURL_CA_BUNDLE'\
'|REQUESTS_CA_BUNDLE|GIT_SSL_CAINFO|NODE_EXTRA_CA_CERTS|CI'\
'|GNSFS_[A-Z_]*|VERSITYGW_[A-Z]*)=' |
	    sed "s/'/'\\\\''/g; s/=\(.*\)/='\1'/; s/^/export /"
}

[ "$(id -u)" = 0 ] || die "only root can make a root"
command -v debootstrap >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -qqy debootstrap \
    >/dev/null 2>&1 || die "the Debian package debootstrap is missing"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

root=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-root.XXXXXX") || exit 1
root=$(cd "$root" && pwd -P)
chmod 755 "$root"
url=$(mirror)
if [ -n "${CLEANROOT_BASE:-}" ] && [ -f "$CLEANROOT_BASE" ]; then
	tar -xpf "$CLEANROOT_BASE" -C "$root" || die "cannot unpack"
else
	echo "cleanroot: Debian $SUITE"
	debootstrap --variant=minbase --include=ca-certificates "$SUITE" \
	    "$root" ${url:+"$url"} >"$root.log" 2>&1 || {
		tail -5 "$root.log" >&2
		rm -f "$root.log"
		die "debootstrap fails"
	}
	rm -f "$root.log"
	[ -z "${CLEANROOT_BASE:-}" ] ||
	    tar -cpf "$CLEANROOT_BASE" -C "$root" . || die "cannot pack"
fi

put /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates \
    /etc/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf" \
    "$HOME/.config/go/env" "$HOME/.npmrc" \
    "$HOME/.cargo/config" "$HOME/.cargo/config.toml"
for file in /etc/apt/apt.conf.d/*; do
	# How registries are reached, not what this host does besides.
	grep -q '^Acquire' "$file" && put "$file"
done
chroot "$root" update-ca-certificates >/dev/null 2>&1

# What is to have mounts of its own in there needs a mount for its root.
mount --bind "$root" "$root" || die "cannot bind the root"
mount --bind /proc "$root/proc" && mount --rbind /dev "$root/dev" &&
    mount --bind /sys "$root/sys" || die "cannot bind /proc, /dev, /sys"
mount -t tmpfs -o size=64m none "$root/run" || die "cannot mount /run"
mkdir -p "$root/src/gnsfs" "$root/$HOME"
if [ -d .git ] && command -v git >/dev/null; then
	git ls-files -z --cached --others --exclude-standard |
	    xargs -0 tar -cf - --ignore-failed-read 2>/dev/null
else
	tar -cf - --exclude='./build*' .
fi | tar -xf - -C "$root/src/gnsfs" || die "cannot copy the tree"

# run CMD...: in there.
run()
{
	echo "cleanroot: $*"
	client_env >"$root/src/env"
	chroot "$root" /usr/bin/env -i HOME="$HOME" TERM=dumb LANG=C.UTF-8 \
	    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	    sh -c '. /src/env && cd /src/gnsfs && exec "$@"' sh "$@" \
	    </dev/null
}

if [ $# != 0 ]; then
	run "$@" || die "$SUITE: $* fails"
else
	run sh test/demo.sh || die "$SUITE: the demo fails"
	run sh test/all.sh || die "$SUITE: a test fails"
fi
echo "cleanroot: $SUITE: all is well"
