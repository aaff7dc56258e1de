# suites.sh: filesystem test suites that others wrote, by package name.  To be
# sourced by sh, after test/servers.sh, whose tools folder it shares.
#
#   suite_pjdfstest        installs the crate pjdfstest; prints its path
#   suite_fsx              the same for the crate fsx
#   suite_deb PKG PROGRAM  installs a Debian package, if PROGRAM is missing
#
# All return nonzero, having said why on stderr, where they fail.  A crate is
# built once, with the `cargo` on PATH where it is recent enough, else with
# Debian's cargo-web and rustc-web (Debian 12's own Rust is too old), else
# with Debian's cargo.

PJDFSTEST_VERSION=${PJDFSTEST_VERSION:-0.2.0}
FSX_VERSION=${FSX_VERSION:-0.3.2}
RUST_NEEDED=85				# 1.N

suite_deb()
{
	servers_need "$1" command -v "$2"
}

# cargo_is_recent CARGO: it and its rustc are 1.$RUST_NEEDED or later.
cargo_is_recent()
{
	_minor=$("$1" --version 2>/dev/null |
	    sed -n 's/^cargo 1\.\([0-9][0-9]*\).*/\1/p')
	[ -n "$_minor" ] && [ "$_minor" -ge "$RUST_NEEDED" ]
}

# Prints the path of a `cargo` that can build them.
suite_cargo()
{
	for _pkgs in "" "cargo-web rustc-web" "cargo rustc"; do
		for _pkg in $_pkgs; do
			servers_need "$_pkg" dpkg -s "$_pkg" 2>/dev/null ||
			    continue 2
		done
		_cargo=$(command -v cargo)
		if [ -x "$_cargo" ] && cargo_is_recent "$_cargo"; then
			echo "$_cargo"
			return 0
		fi
	done
	servers_say "no cargo 1.$RUST_NEEDED or later is to be had"
	return 1
}

# crate_tool NAME VERSION: builds it unless it is there; prints its path.
crate_tool()
{
	_dir=$(servers_dir)
	_bin=$_dir/bin/$1
	mkdir -p "$_dir/bin" || return 1
	(
		exec 9>"$_dir/lock"
		flock 9
		[ ! -x "$_bin" ] || exit 0
		suite_deb gcc cc || exit 1
		_cargo=$(suite_cargo) || exit 1
		servers_say "building $1 (a minute or two, once)"
		"$_cargo" install --quiet --locked --root "$_dir/crates" \
		    --version "$2" "$1" >"$_dir/$1.build" 2>&1 || {
			servers_say "cannot build $1:"
			tail -5 "$_dir/$1.build" >&2
			exit 1
		}
		mv "$_dir/crates/bin/$1" "$_bin" &&
		    rm -rf "$_dir/crates"
	) && echo "$_bin"
}

suite_pjdfstest()
{
	crate_tool pjdfstest "$PJDFSTEST_VERSION"
}

suite_fsx()
{
	crate_tool fsx "$FSX_VERSION"
}
