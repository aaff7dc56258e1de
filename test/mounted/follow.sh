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
	    large_to_small; do
		check "$case (passthrough=$pass)" timeout 60 python3 \
		    "$TOP/test/mounted/follow.py" "$case" \
		    "$T/w/$pass" "$T/r/$pass"
	done
	stop_mount "$T/r"
done
stop_mount "$T/w"
