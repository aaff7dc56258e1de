# crash.sh: kill -9 at random under load; what was acknowledged is there after
# it, here and, once synced, on a host that has nothing but the store.
# timeout: 420
#
# ROUNDS is how often (8; 50 in the full form, `make crash`), KIND the store.
# Kills are aimed in turn at an upload, a commit, a snapshot and an eviction,
# and at no time in particular; what they hit is counted from the log.

. "$(dirname "$0")/../lib.sh"
begin
ROUNDS=${ROUNDS:-8}
KIND=${KIND:-s3}
LOAD=${LOAD:-6}			# seconds of load, at most, before a kill
[ "$KIND" != s3 ] || start_s3
url=$(store_url "$KIND" home)
m=$T/m
py="python3 $TOP/test/mounted/crash.py"
opts=lag=30ms,debug
format_home "$url" --name crash

# hits PHASE: how many kills came while it was under way.
hits()
{
	cat "$T"/hit.* 2>/dev/null | grep -cw "$1"
}

round=0
while [ $round -lt "$ROUNDS" ]; do
	round=$((round + 1))
	case $((round % 5)) in
	1)	phase=upload ;;
	2)	phase=commit ;;
	3)	phase=snapshot ;;
	4)	phase=eviction ;;
	0)	phase=any ;;
	esac
	size=4G
	# where the daemon sees each write it uploads what is open, too
	[ $phase != eviction ] || size=48M,passthrough=off
	log=$T/round$round.log
	start_mount "$url" "$m" "$opts,cache_size=$size,log=$log"
	pid=$(mount_pid "$m")
	seconds=$LOAD
	[ $phase != snapshot ] || seconds=$((LOAD * 3))
	$py kill "$pid" "$log" $phase $seconds >"$T/hit.$round" 2>&1 &
	killer=$!
	$py load "$T/model" "$m" $((seconds + 10)) >"$T/load.out" 2>&1
	rc=$?
	wait $killer || { cat "$T/hit.$round" "$T/load.out"
		bail "round $round: the daemon lives until it is killed"; }
	kill_mount "$m"
	[ $rc = 0 ] || { sed 's/^/# /' "$T/load.out"
		fail "round $round: what is written is read under load"; }
	say "round $round: killed during $(cat "$T/hit.$round");" \
	    "$($py acked "$T/model") fsyncs acknowledged"
	start_mount "$url" "$m" "$opts,log=$T/check$round.log"
	check "round $round: every file is whole" $py check "$T/model" "$m"
	say "$(tail -1 "$T/out")"
	stop_mount "$m"
	[ $failed = 0 ] || break
done

for phase in upload commit snapshot eviction; do
	say "killed during $phase: $(hits $phase)"
	[ "$ROUNDS" -lt 50 ] || check "some kills hit $phase" \
	    test "$(hits $phase)" -gt 0
done
acked=$($py acked "$T/model")
say "fsyncs acknowledged: $acked"
[ "$ROUNDS" -lt 50 ] || check "at least 1,000 fsyncs were acknowledged" \
    test "$acked" -ge 1000

start_mount "$url" "$m" "$opts,log=$T/last.log"
check "sync" "$GNSFS" sync "$m" --timeout 120
check "fsck finds one digest" "$GNSFS" fsck "$m"
check "every file is whole, here" $py check "$T/model" "$m"
stop_mount "$m"
start_mount "$url" "$m" "cache=$T/fresh,log=$T/fresh.log"
check "every file is whole, on a fresh host" $py check "$T/model" "$m"
say "$(tail -1 "$T/out")"
check "fsck finds one digest there" "$GNSFS" fsck "$m"
stop_mount "$m"
finish
