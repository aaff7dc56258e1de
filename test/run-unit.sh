# run-unit.sh PROGRAM...: runs check programs, sums up what they count.
#
# As many at once as there are processors (UNIT_JOBS says another number).  A
# program that says nothing, dies or runs out of time is one failure.  What a
# failing one said is shown.  UNIT_TIMEOUT is the seconds each may take.
# Ends with `N passed, N failed, N skipped`; fails where one did.

limit=${UNIT_TIMEOUT:-480}

# one DIR PROGRAM: what it counts is added to DIR/counts.
one()
{
	name=$(basename "$2")
	dir=$1/$name
	mkdir -p "$dir/tmp" || exit 1
	begun=$(date +%s)
	TMPDIR=$dir/tmp CK_VERBOSITY=normal CK_FORK=yes \
	    timeout -k 10 "$limit" "$2" >"$dir/out" 2>&1 </dev/null
	rc=$?
	took=$(($(date +%s) - begun))
	# 98%: Checks: 50, Failures: 1, Errors: 0   (one line a runner)
	sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\),'\
' Errors: \([0-9]*\)$/\1 \2 \3/p' "$dir/out" |
	    awk '{ c += $1; f += $2 + $3 } END { print c + 0, f + 0 }' \
	    >"$dir/counts"
	read -r checks bad <"$dir/counts"
	if [ "$rc" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		checks=$((checks + 1))
	elif [ "$checks" = 0 ]; then
		checks=1
		bad=1
	fi
	{
		if [ "$bad" = 0 ]; then
			echo "ok - $name: $checks checks, $took s"
		else
			[ "$rc" != 124 ] || echo "# no end after $limit s"
			grep -v ':[PS]:' "$dir/out" | tail -60 | sed 's/^/# /'
			echo "not ok - $name: $bad of $checks failed," \
			    "$took s, status $rc"
		fi
	} >"$dir/said"
	cat "$dir/said"
	echo "$((checks - bad)) $bad" >>"$1/counts"
	rm -rf "$dir"
}

if [ "$1" = --one ]; then
	one "$2" "$3"
	exit 0
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-test.unit.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/counts"
printf '%s\0' "$@" | xargs -0 -r -n 1 -P "${UNIT_JOBS:-$(nproc)}" \
    sh "$0" --one "$tmp"
awk -v want=$# '{ p += $1; f += $2 } END { f += want - NR
	print p + 0 " passed, " f + 0 " failed, 0 skipped"
	exit !(f == 0 && p > 0) }' "$tmp/counts"
