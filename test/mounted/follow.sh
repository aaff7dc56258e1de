# follow.sh: a mount that only reads, beside the one that writes.  Who has a
# file open goes on with the bytes that it had, whatever becomes of its name
# (F1, B5); who opens it later gets the new ones; nobody gets both, or zeros.
# test/mounted/follow.py has the cases.

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
format_home "$url"
start_mount "$url" "$T/w" lag=50ms
GNSFS_BIN=$GNSFS
export GNSFS_BIN

for pass in auto off; do
	start_mount "$url" "$T/r" "ro,poll=50ms,passthrough=$pass"
	mkdir "$T/w/$pass"
	for case in rewritten_cold rewritten_passed shorter removed \
	    renamed_over linked thrice reopened small small_to_large \
	    large_to_small raced; do
		check "$case (passthrough=$pass)" timeout 60 python3 \
		    "$TOP/test/mounted/follow.py" "$case" \
		    "$T/w/$pass" "$T/r/$pass"
	done
	stop_mount "$T/r"
done
stop_mount "$T/w"

# --- one read that waits for a store keeps no news from coming ---
start_mount "$url" "$T/w" lag=50ms
mkdir "$T/stores/lake" "$T/w/far"
check "another store" "$GNSFS" store add lake "$(store_url file lake)" \
    -n "$T/w"
check "for a folder" "$GNSFS" policy set "$T/w/far" store=lake
head -c 20000 /dev/urandom >"$T/w/far/x"
check "sync" "$GNSFS" sync "$T/w"
start_mount "$url" "$T/r" ro,poll=50ms,offline=wait
check "is there" test -s "$T/r/far/x"
mv "$T/stores/lake" "$T/stores/away"
spawn cat "$T/r/far/x"
cat=$!
sleep 1
mode_is()
{
	[ "$(stat -c %a "$T/r/far/x")" = "$1" ]
}
for mode in 600 640 604; do
	chmod $mode "$T/w/far/x"
	check "mode $mode" wait_for 3 mode_is $mode
	echo new >"$T/w/y$mode"
	check "a name made meanwhile" wait_for 3 test -s "$T/r/y$mode"
done
kill $cat
mv "$T/stores/away" "$T/stores/lake"
wait $cat
sleep 1			# its descriptor is closed behind it
stop_mount "$T/r"
stop_mount "$T/w"
