# run.sh: fuzz targets, one after the other, from their seeds (fuzz.mk).
#
#   sh test/fuzz/run.sh DIR SECONDS TARGET...
#
# DIR has the programs, and gets corpus/TARGET and, of what fails,
# crash-TARGET-HASH.  Each target that failed is shown with what it said; the
# last line is the sum, `N passed, N failed, N skipped`.

dir=$1
seconds=$2
shift 2
here=$(dirname "$0")
passed=0
failed=0

# Mounts and databases of targets are files below this.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-fuzz.XXXXXX") || exit 1
export TMPDIR
pid=
finish()
{
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	rm -rf "$TMPDIR"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir -p "$dir/corpus" "$TMPDIR/seeds"
"$dir/fuzz-seeds" "$TMPDIR/seeds" || exit 1
for target in "$@"; do
	mkdir -p "$dir/corpus/$target" "$TMPDIR/seeds/$target"
	[ ! -f "$here/seeds/$target.txt" ] ||
	    awk -v dir="$TMPDIR/seeds/$target" '
		$1 == "===" { file = dir "/" $2; next }
		{ print >file }' "$here/seeds/$target.txt"
	UBSAN_OPTIONS=print_stacktrace=1 "$dir/fuzz-$target" \
	    -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
	    -print_final_stats=1 -verbosity=1 -print_funcs=0 \
	    -artifact_prefix="$dir/crash-$target-" ${FUZZ_ARGS:-} \
	    "$dir/corpus/$target" "$TMPDIR/seeds/$target" \
	    >"$TMPDIR/said" 2>&1 &
	pid=$!
	wait $pid
	rc=$?
	pid=
	if [ $rc = 0 ]; then
		passed=$((passed + 1))
		echo "ok - fuzz $target:" "$(sed -n \
		    's/^stat::number_of_executed_units: */runs /p
		    s/^Done .* in \(.*\) second(s)$/in \1 s/p' \
		    "$TMPDIR/said" | tr '\n' ' ')"
	else
		failed=$((failed + 1))
		tail -60 "$TMPDIR/said"
		echo "not ok - fuzz $target: status $rc"
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
