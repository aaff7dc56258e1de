# run-unit.sh PROGRAM...: runs check programs, sums up what they count.
#
# A program that says nothing, dies or runs out of time is one failure.  What a
# failing one said is shown.  UNIT_TIMEOUT is the seconds each may take.
# Ends with `N passed, N failed, N skipped`; fails where one did.

limit=${UNIT_TIMEOUT:-300}
passed=0
failed=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-test.unit.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir "$tmp/tmp"
for program in "$@"; do
	name=$(basename "$program")
	begun=$(date +%s)
	TMPDIR=$tmp/tmp CK_VERBOSITY=normal CK_FORK=yes \
	    timeout -k 10 "$limit" "$program" >"$tmp/out" 2>&1 </dev/null
	rc=$?
	took=$(($(date +%s) - begun))
	# 98%: Checks: 50, Failures: 1, Errors: 0   (one line a runner)
	sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\),'\
' Errors: \([0-9]*\)$/\1 \2 \3/p' "$tmp/out" |
	    awk '{ c += $1; f += $2 + $3 } END { print c + 0, f + 0 }' \
	    >"$tmp/counts"
	read -r checks bad <"$tmp/counts"
	if [ "$rc" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		checks=$((checks + 1))
	elif [ "$checks" = 0 ]; then
		checks=1
		bad=1
	fi
	passed=$((passed + checks - bad))
	failed=$((failed + bad))
	if [ "$bad" = 0 ]; then
		echo "ok - $name: $checks checks, $took s"
	else
		[ "$rc" = 124 ] && echo "# no end after $limit s"
		grep -v ':[PS]:' "$tmp/out" | tail -60 | sed 's/^/# /'
		echo "not ok - $name: $bad of $checks failed, $took s," \
		    "status $rc"
	fi
	rm -rf "$tmp/tmp" && mkdir "$tmp/tmp"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
