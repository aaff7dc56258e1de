# all.sh: every test, as CI runs them.
#
#   sh test/all.sh              all of them
#   sh test/all.sh WORD...      only the sections whose names have a WORD
#
# Installs what the tests need, builds the program twice (plain, and with
# AddressSanitizer and UBSan), and runs, one after the other and each with a
# time limit: lint, unit tests of both builds, the backends against real
# servers, each script of test/mounted, some of them once more by io_uring, the
# demo, and the benchmarks at a hundredth of their size, for whether they run.
# Slow suites run in a short form (GNSFS_TEST_SHORT=1; GNSFS_TEST_LONG=1 asks
# for the long one).
#
# What a section says is shown where it failed; KEEP=DIR keeps all of it there.
# A mounted test may say, in its first lines,
#	# timeout: SECONDS	what it may take, else 300
#	# build: plain		that it is to be run without sanitizers
# All temporary files are below one folder; when this script ends, in whatever
# way, the mounts below it are off, the processes that name it in their
# arguments have ended, and it is gone.  The last line is the sum:
# `N passed, N failed, N skipped`.  A server that does not start is a failure.

cd "$(dirname "$0")/.." || exit 1
TOTAL=${GNSFS_TEST_TOTAL:-4500}		# seconds, all sections
JOBS=$(nproc)
SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
SAN="$SAN -fno-omit-frame-pointer"
begun=$(date +%s)
passed=0
failed=0
skipped=0
only=$*
current=
URING=/sys/module/fuse/parameters/enable_uring
uring_was=$(cat "$URING" 2>/dev/null)

# Short, because names of sockets are, and open to the suites' other users.
run=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-all.XXXXXX") || exit 1
run=$(cd "$run" && pwd -P)
logs=${KEEP:-$run/logs}
mkdir -p "$run/t" "$logs" || exit 1
chmod 711 "$run" "$run/t"
export TMPDIR="$run/t"
[ -n "${GNSFS_TEST_LONG:-}" ] || export GNSFS_TEST_SHORT=1
ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export ASAN_OPTIONS UBSAN_OPTIONS

# Processes that have this run's folder among their arguments, but for us.
ours()
{
	for _proc in /proc/[0-9]*; do
		_pid=${_proc#/proc/}
		[ "$_pid" != $$ ] || continue
		{ tr '\0' '\n' <"$_proc/cmdline" |
		    grep -qF -e "$run/" && echo "$_pid"; } 2>/dev/null
	done
}

# Whatever a section left: ended, taken off, removed.
sweep()
{
	_left=$(ours)
	for _pid in $_left; do
		kill -TERM "$_pid" 2>/dev/null
	done
	[ -z "$_left" ] || sleep 2
	for _pid in $(ours); do
		kill -KILL "$_pid" 2>/dev/null
	done
	awk -v run="$run/" 'index($5, run) == 1 { print $5 }' \
	    /proc/self/mountinfo | sort -r | while read -r _dir; do
		umount -l "$_dir" 2>/dev/null || fusermount3 -uz "$_dir"
	done
	rm -rf --one-file-system "$TMPDIR"
	mkdir -p "$TMPDIR"
	chmod 711 "$TMPDIR"
}

# The kernel's parameter is what it was again, whatever was run.
uring_back()
{
	[ ! -w "$URING" ] || echo "$uring_was" >"$URING"
}

finish()
{
	_rc=$?
	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$current" ]; then
		kill -TERM "$current" 2>/dev/null
		wait "$current" 2>/dev/null
	fi
	if [ $_rc != 0 ]; then
		failed=$((failed + 1))
		echo "not ok - interrupted, status $_rc"
	fi
	uring_back
	sweep
	rm -rf --one-file-system "$run"
	echo "# all of it took $(($(date +%s) - begun)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed = 0 ] && [ $passed -gt 0 ] && exit 0
	exit 1
}

# wanted NAME: is this section to be run?
wanted()
{
	[ -n "$only" ] || return 0
	for _word in $only; do
		case $1 in
		*"$_word"*)	return 0 ;;
		esac
	done
	return 1
}

# section NAME SECONDS CMD...: runs it; its last line `N passed, ...` counts,
# or its status as one.
section()
{
	name=$1
	limit=$2
	shift 2
	wanted "$name" || return 0
	log=$logs/$(echo "$name" | tr ' /' '__').log
	start=$(date +%s)
	left=$((TOTAL - start + begun))
	[ $limit -lt $left ] || limit=$left
	if [ $limit -le 0 ]; then
		failed=$((failed + 1))
		echo "not ok - $name: no time is left of $TOTAL s"
		return 1
	fi
	timeout -k 30 "$limit" "$@" >"$log" 2>&1 </dev/null &
	current=$!
	wait $current
	rc=$?
	current=
	took=$(($(date +%s) - start))
	counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' \
	    "$log" | tail -1 | tr -dc '0-9 ')
	[ -n "$counts" ] || counts="$((rc == 0)) $((rc != 0)) 0"
	read -r p f s <<-END
		$counts
	END
	[ $rc = 0 ] || [ "$f" -gt 0 ] || f=1
	passed=$((passed + p))
	failed=$((failed + f))
	skipped=$((skipped + s))
	if [ "$f" = 0 ]; then
		echo "ok - $name: $p checks$([ "$s" = 0 ] ||
		    echo ", $s skipped") ($took s)"
		grep '# SKIP' "$log" | sed 's/^/#   /'
	else
		# What failed, with what it said; not the rest.
		grep -vE '^ok |^[0-9]+ passed, ' "$log" | tail -120 |
		    sed -E 's/^(# ?)?/#   /'
		[ $rc != 124 ] && [ $rc != 137 ] ||
		    echo "# no end after $limit s"
		echo "not ok - $name: $f failed, $p passed, status $rc" \
		    "($took s)"
	fi
	sweep
	uring_back
	[ $rc = 0 ]
}

# header FILE KEY DEFAULT: of a mounted test, what it says of itself.
header()
{
	_value=$(sed -n "1,30s/^# $2: *//p" "$1" | head -1)
	echo "${_value:-$3}"
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "# $(uname -srm), $JOBS cores," \
    "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null)"
section "packages" 900 sh test/deps.sh test || only=nothing-more
section "build" 600 make -s -j"$JOBS" all unit
section "build with sanitizers" 900 make -s -j"$JOBS" B=build-asan \
    SAN="$SAN" CFLAGS="-O1 -g" build-asan/gnsfs unit
section "lint finds" 60 sh test/lint.sh --self-test
section "lint" 60 sh test/lint.sh
units=
for source in test/unit/*.c; do
	program=$(basename "$source" .c)
	case $program in
	*_live)	;;		# wants a server: below
	*)	units="$units $program" ;;
	esac
done
# shellcheck disable=SC2086 # one word a program
section "unit" 600 sh test/run-unit.sh \
    $(printf 'build/test/%s ' $units)
section "unit with sanitizers" 900 env CK_TIMEOUT_MULTIPLIER=4 \
    sh test/run-unit.sh $(printf 'build-asan/test/%s ' $units)
# Each for a second, from its seeds: what it found once is found again.
section "fuzz" 300 make -s -j"$JOBS" fuzz FUZZ_TIME=1 FUZZ_JOBS="$JOBS" \
    FUZZ_FLAGS="-O0 -gline-tables-only"
section "S3 servers" 1200 sh -c \
    '. test/servers.sh && s3_install && S3_SERVER=minio && s3_install'
for backend in s3 gcs azure; do
	[ -f "test/$backend.sh" ] || continue
	section "$backend backend" 600 sh "test/$backend.sh" build
	section "$backend backend with sanitizers" 600 \
	    env S3_HTTP_ONLY=1 sh "test/$backend.sh" build-asan
done
for script in test/mounted/*.sh; do
	program=build-asan/gnsfs
	[ "$(header "$script" build asan)" != plain ] || program=build/gnsfs
	section "mounted $(basename "$script" .sh)" \
	    "$(header "$script" timeout 300)" \
	    env GNSFS_BIN="$PWD/$program" sh "$script"
done
# Once more where the kernel's requests come by io_uring: what that may change.
for test in basic fill full posix follow stress crash; do
	script=test/mounted/$test.sh
	wanted "by io_uring: mounted $test" || continue
	if [ ! -w "$URING" ]; then
		skipped=$((skipped + 1))
		echo "#   # SKIP by io_uring: this kernel does not offer it"
		break
	fi
	echo Y >"$URING"
	section "by io_uring: mounted $test" "$(header "$script" timeout 300)" \
	    env GNSFS_BIN="$PWD/build-asan/gnsfs" sh "$script"
done
section "demo" 300 sh test/demo.sh
# Its figures say nothing here; that each case still runs.
section "benchmarks" 900 sh test/bench/bench.sh --scale 0.01 \
    --rounds 1 --only main,speed
