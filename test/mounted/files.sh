#!/bin/sh
# files: what an open file promises, on a mount (files.py).
. "$(dirname "$0")/../lib.sh"

begin
url=$(store_url file home)
format_home "$url" --name files
start_mount "$url" "$T/m" lag=100ms
check "open files keep their promises" \
    env GNSFS="$GNSFS" timeout 120 python3 "$TOP/test/mounted/files.py" "$T/m" \
    every "$(store_dir file home)"
stop_mount "$T/m"
start_mount "$url" "$T/m" "lag=100ms,cache=$T/none,cache_size=16M"
check "where no byte can be kept, too" \
    env GNSFS="$GNSFS" timeout 120 python3 "$TOP/test/mounted/files.py" "$T/m" \
    small "$(store_dir file home)"
stop_mount "$T/m"
finish
