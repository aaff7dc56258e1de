# lint.sh: what the compiler does not check.
#
#   sh test/lint.sh               the tree
#   sh test/lint.sh --self-test   this script: each violation, planted, is found
#
#   includes   folders know each other in one direction only: tools -> fs ->
#              {backends, meta, cache} -> base, the middle three never each
#              other; paths are written from the root of the tree; FUSE's front
#              (fs/fuse_*) is known to itself and to tools/mount.c alone
#   owners     each library is included by its owner only, and no other is used
#   columns    no line is longer than 80
#   words      no calls that cannot be bounded, no marks of unfinished work, no
#              paths of somebody's machine, no hosts of somebody's network
#   shell      every script parses
#   manuals    every command, option and mount option is in its manual page and
#              in `gnsfs help`, and the pages are what the program says now
#              (where the program is built: $GNSFS_BIN or ./gnsfs)
#
# Each is a check; what is wrong is shown as FILE:LINE: text.  Ends with
# `N passed, N failed, N skipped`.

passed=0
failed=0
skipped=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-test.lint.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP
TAB=$(printf '\t')

# verdict NAME: what is in $tmp/found are the violations.
verdict()
{
	if [ -s "$tmp/found" ]; then
		failed=$((failed + 1))
		sed 's/^/# /' "$tmp/found"
		echo "not ok - lint: $1"
	else
		passed=$((passed + 1))
		echo "ok - lint: $1"
	fi
	: >"$tmp/found"
}

sources()
{
	find base backends meta cache fs tools test -name '*.[ch]' -type f |
	    LC_ALL=C sort
}

scripts()
{
	find test packaging .ci \( -name '*.sh' -o -path '.ci/run' \) \
	    2>/dev/null | LC_ALL=C sort
}

# Lines "FILE LINE HEADER", HEADER with its < or ".
list_includes()
{
	sources | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include' |
	    sed -nE 's/^([^:]*):([0-9]*):[^<"]*([<"][^>"]*)[>"].*/\1 \2 \3/p' \
	    >"$tmp/includes"
}

lint_includes()
{
	awk '
	BEGIN {
		may["base"] = "base"
		may["backends"] = "base backends"
		may["meta"] = "base meta"
		may["cache"] = "base cache"
		may["fs"] = "base backends meta cache fs"
		may["tools"] = "base fs tools"
		may["test"] = "base backends meta cache fs tools test"
	}
	substr($3, 1, 1) != "\"" { next }
	{
		split($1, from, "/")
		header = substr($3, 2)
		n = split(header, to, "/")
		if (n == 1 && from[1] == "test")
			next	# a helper of tests, beside them
		where = $1 ":" $2 ": "
		if (n < 2 || !(to[1] in may) || header ~ /\.\./) {
			print where header " is not written from the root"
			next
		}
		if (index(" " may[from[1]] " ", " " to[1] " ") == 0)
			print where from[1] "/ may not include " header
		if (header ~ /^fs\/fuse_/ && $1 !~ /^fs\/fuse_/ &&
		    !(header == "fs/fuse_main.h" && $1 == "tools/mount.c"))
			print where header " is not for this file"
	}' "$tmp/includes" >"$tmp/found"
	while read -r file line header; do
		case $header in
		\"*/*)	[ -f "${header#?}" ] ||
			    echo "$file:$line: there is no ${header#?}" ;;
		esac
	done <"$tmp/includes" >>"$tmp/found"
	verdict "includes go one way"
}

# Who may include what: a pattern of headers, then one of files.
owners='^fuse					^fs/fuse_
^liburing[.]h$					^fs/fuse_ring_impl[.]h$
^curl/						^backends/http[.]c$
^sqlite3[.]h$					^base/sq_(wal[.]c|impl[.]h)$
^openssl/		^(base/hash|backends/(sig|token|creds)[a-z0-9_]*)[.]c$
^zstd						^base/compress[.]c$
^jansson[.]h$	^(fs/|tools/|test/|backends/(creds|token|gcs)[a-z0-9_]*[.]c$)
^expat					^backends/(xml|[a-z0-9]*_list)[.]c$
^check[.]h$					^test/unit/
^(sys|linux|arpa|net|netinet)/[a-z0-9_]*[.]h$	.'

# The C library.
for h in assert ctype dirent errno fcntl fnmatch ftw getopt grp inttypes \
    langinfo limits locale malloc math netdb nmmintrin poll pthread pwd regex \
    sched semaphore setjmp signal spawn stdarg stdalign stdatomic stdbool \
    stddef stdint stdio stdlib string strings syslog termios time unistd; do
	owners="$owners
^$h[.]h$	."
done

lint_owners()
{
	printf '%s\n' "$owners" >"$tmp/owners"
	awk '
	BEGIN { n = 0 }
	FILENAME == ARGV[1] { header[n] = $1; file[n++] = $2; next }
	substr($3, 1, 1) == "<" {
		h = substr($3, 2)
		for (i = 0; i < n && h !~ header[i]; i++)
			;
		if (i == n)
			print $1 ":" $2 ": <" h ">: a library more"
		else if ($1 !~ file[i])
			print $1 ":" $2 ": <" h "> is not for this file"
	}' "$tmp/owners" "$tmp/includes" >"$tmp/found"
	verdict "each library has one owner"
}

lint_columns()
{
	{ sources; scripts; } | while read -r file; do
		expand "$file" | LC_ALL=C.UTF-8 grep -nE '^.{81,}' |
		    sed "s|^|$file:|"
	done >"$tmp/found"
	verdict "lines have 80 columns"
}

# Hosts that may be named: loopback, those reserved for examples, and the
# clouds whose stores these are.
hosts='localhost|127\.[0-9.]*|[a-z]|[a-z0-9.-]*\.(invalid|test)'
hosts="$hosts|([a-z0-9.-]*\.)?example(\.[a-z]*)?|host|HOST|169\.254\.[0-9.]*"
hosts="$hosts|[a-z0-9.-]*\.(amazonaws\.com|googleapis\.com|windows\.net)"
hosts="$hosts|[a-z0-9.-]*\.(amazonaws\.com\.cn|microsoftonline\.com)"

lint_words()
{
	sources | xargs -r grep -nE \
	    '\<(gets|vsprintf|strtok|alloca)\(' \
	    >"$tmp/found"
	{ sources; scripts; } | grep -v '^test/lint.sh$' |
	    xargs -r grep -nE '\<(TO''DO|FIX''ME|XX''X)\>' >>"$tmp/found"
	sources | xargs -r grep -nE "^[^\"]*(^|[;{}[:space:]])//" \
	    >>"$tmp/found"
	{ sources; scripts; ls README CHANGES Makefile man/* 2>/dev/null; } |
	    grep -v '^test/lint.sh$' >"$tmp/texts"
	xargs -r grep -nE '(^|[^A-Za-z0-9_.*])/(work|home|Users|root)/[a-z]' \
	    <"$tmp/texts" >>"$tmp/found"
	xargs -r grep -noE 'https?://[A-Za-z0-9_.:-]*' <"$tmp/texts" |
	    grep -vE "https?://(($hosts)?(:.*)?\$|[A-Z])" >>"$tmp/found"
	verdict "words that do not belong here"
}

lint_shell()
{
	scripts | while read -r file; do
		case $file in
		*.sh)	sh -n "$file" 2>&1 | sed "s|^|$file: |" ;;
		*)	bash -n "$file" 2>&1 | sed "s|^|$file: |" ;;
		esac
	done >"$tmp/found"
	verdict "scripts parse"
}

lint_manuals()
{
	program=${GNSFS_BIN:-./gnsfs}
	if [ ! -x "$program" ]; then
		skipped=$((skipped + 1))
		echo "ok - lint: manuals # SKIP $program is not built"
		return
	fi
	cat man/* 2>/dev/null | sed 's/\\-/-/g; s/\\f.//g' >"$tmp/man"
	"$program" help 2>/dev/null | sed -nE 's/^  ([a-z]+) .*/\1/p' \
	    >"$tmp/commands"
	[ -s "$tmp/commands" ] || echo "$program help lists no command" \
	    >>"$tmp/found"
	while read -r cmd; do
		"$program" help "$cmd" >"$tmp/help" 2>&1 &&
		    [ "$(wc -l <"$tmp/help")" -ge 3 ] ||
		    echo "gnsfs help $cmd says nothing"
		grep -qE "gnsfs $cmd\>" "$tmp/man" ||
		    echo "man/: nothing about gnsfs $cmd"
		grep -oE -- '(^|[ ,])--[a-z][a-z0-9-]*' "$tmp/help" |
		    grep -oE -- '--[a-z0-9-]*' | sort -u | while read -r opt; do
			grep -qE -e "$opt\>" "$tmp/man" ||
			    echo "man/: nothing about gnsfs $cmd $opt"
		done
	done <"$tmp/commands" >>"$tmp/found"
	for page in gnsfs.1 mount.gnsfs.8 $(cd man && ls gnsfs-*.1); do
		"$program" help --man $page >"$tmp/page" 2>&1 &&
		    cmp -s "$tmp/page" man/$page ||
		    echo "man/$page is not what gnsfs help --man $page says"
	done >>"$tmp/found"
	sed -nE "s/^$TAB"'X\(([a-z_]+), .*/\1/p' fs/options.c |
	    while read -r opt; do
		grep -qE "\<$opt\>" "$tmp/man" ||
		    echo "man/: nothing about the mount option $opt"
	done >>"$tmp/found"
	verdict "every command and option is in the manual"
}

lint()
{
	: >"$tmp/found"
	list_includes
	lint_includes
	lint_owners
	lint_columns
	lint_words
	lint_shell
	lint_manuals
}

# --- does it find what it looks for? ---

# plant NAME FILE TEXT: in a copy of an empty tree, TEXT in FILE is found by
# the check whose name begins with NAME, and by no other.
plant()
{
	rm -rf "$tmp/tree"
	mkdir "$tmp/tree"
	(
		cd "$tmp/tree" || exit 1
		mkdir base backends meta cache fs tools test test/unit .ci
		for dir in base backends meta cache fs tools; do
			echo "/* $dir */" >$dir/x.h
			printf '#include <stdio.h>\n\n#include "%s/x.h"\n' \
			    $dir >$dir/x.c
		done
		cp fs/x.h fs/fuse_main.h
		[ -z "$2" ] || printf '%s\n' "$3" >>"$2"
		GNSFS_BIN=/nonexistent sh "$self" --in
	) >"$tmp/said" 2>&1
	found=$(sed -n 's/^not ok - lint: //p' "$tmp/said")
	case $found in
	"$1"*)
		if [ -n "$1" ] || [ -z "$found" ]; then
			passed=$((passed + 1))
			echo "ok - lint finds ${3:-nothing in a good tree}" |
			    cut -c -75
			return
		fi ;;
	esac
	failed=$((failed + 1))
	sed 's/^/# /' "$tmp/said"
	echo "not ok - lint finds '$3' in $2: found '$found'"
}

self_test()
{
	long=$(printf '%081d' 0)
	plant "" "" ""
	plant "includes" base/x.c '#include "meta/x.h"'
	plant "includes" meta/x.c '#include "cache/x.h"'
	plant "includes" cache/x.h '#include "backends/x.h"'
	plant "includes" backends/x.c '#include "fs/x.h"'
	plant "includes" fs/x.c '# include "tools/x.h"'
	plant "includes" fs/x.c '#include "fs/fuse_main.h"'
	plant "includes" tools/x.c '#include "meta/x.h"'
	plant "includes" tools/x.c '#include "x.h"'
	plant "includes" tools/x.c '#include "fs/../meta/x.h"'
	plant "includes" tools/x.c '#include "fs/absent.h"'
	plant "each library" fs/x.c '#include <fuse_lowlevel.h>'
	plant "each library" backends/x.c '#include <curl/curl.h>'
	plant "each library" meta/x.c '#include <sqlite3.h>'
	plant "each library" fs/x.c '#include <openssl/evp.h>'
	plant "each library" meta/x.c '#include <zstd.h>'
	plant "each library" base/x.c '#include <jansson.h>'
	plant "each library" fs/x.c '#include <expat.h>'
	plant "each library" fs/x.c '#include <check.h>'
	plant "each library" fs/x.c '#include <glib.h>'
	plant "lines" base/x.c "/* $long */"
	plant "words" base/x.c "	gets(a);"
	plant "words" base/x.c "/* TO""DO: the rest */"
	plant "words" base/x.c "	f();	// one line"
	plant "words" base/x.c 'char *a = "/ho''me/somebody/x";'
	plant "words" base/x.c 'char *a = "https://registry.of.somebody/x";'
	plant "scripts" .ci/run 'if true'
}

case ${1:-} in
--self-test)
	self=$(cd "$(dirname "$0")" && pwd)/lint.sh
	self_test ;;
--in)	lint ;;
"")	cd "$(dirname "$0")/.." || exit 1
	lint ;;
*)	echo "usage: sh test/lint.sh [--self-test]" >&2
	exit 2 ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
