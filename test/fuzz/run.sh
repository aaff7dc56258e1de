# run.sh: fuzz targets from their seeds (fuzz.mk).
#
#   sh test/fuzz/run.sh DIR SECONDS TARGET...
#
# DIR has the programs, and gets corpus/TARGET and, of what fails,
# crash-TARGET-HASH.  FUZZ_JOBS (1) run at a time.  Each target that failed is
# shown with what it said; the last line is the sum, `N passed, N failed, N
# skipped`.  FUZZ_ARGS are given to all of them.

dir=$1
seconds=$2
shift 2
here=$(dirname "$0")

# Mounts and databases of targets are files below this.
run=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-fuzz.XXXXXX") || exit 1
TMPDIR=$run
export TMPDIR
pids=
finish()
{
	for pid in $pids; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# one TARGET: runs it; what it says and its status go to files.
one()
{
	mkdir -p "$dir/corpus/$1" "$run/seeds/$1"
	[ ! -f "$here/seeds/$1.txt" ] || awk -v dir="$run/seeds/$1" '
		$1 == "===" { file = dir "/" $2; next }
		{ print >file }' "$here/seeds/$1.txt"
	case $1 in
	control|pack)		# threads hold what they work on: at the end
		leaks=0 ;;
	*)	leaks=1 ;;
	esac
	UBSAN_OPTIONS=print_stacktrace=1 exec "$dir/fuzz-$1" \
	    -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
	    -detect_leaks=$leaks -print_final_stats=1 -print_funcs=0 \
	    -artifact_prefix="$dir/crash-$1-" ${FUZZ_ARGS:-} \
	    "$dir/corpus/$1" "$run/seeds/$1"
}

# Waits for the oldest; its verdict.
passed=0
failed=0
reap()
{
	pid=${pids%% *}
	name=${names%% *}
	pids=${pids#"$pid "}
	names=${names#"$name "}
	wait "$pid"
	rc=$?
	if [ $rc = 0 ]; then
		passed=$((passed + 1))
		echo "ok - fuzz $name:" "$(sed -n \
		    's/^stat::number_of_executed_units: */runs /p
		    s/^Done .* in \(.*\) second(s)$/in \1 s/p' \
		    "$run/$name.said" | tr '\n' ' ')"
	else
		failed=$((failed + 1))
		grep -v '^#[0-9]' "$run/$name.said" | tail -60
		echo "not ok - fuzz $name: status $rc"
	fi
	running=$((running - 1))
}

mkdir -p "$dir/corpus" "$run/seeds"
"$dir/fuzz-seeds" "$run/seeds" || exit 1
names=
running=0
for target in "$@"; do
	[ $running -lt "${FUZZ_JOBS:-1}" ] || reap
	one "$target" >"$run/$target.said" 2>&1 &
	pids="$pids$! "
	names="$names$target "
	running=$((running + 1))
done
while [ $running -gt 0 ]; do
	reap
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
