# count.sh: ten thousand small files do not become ten thousand objects, nor
# files in the cache folder; and the kernel, once told, does not ask again (F4).

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m

# counter NAME: of the mount.
counter()
{
	"$GNSFS" status --json "$m" | python3 -c 'import json, sys
print(json.load(sys.stdin)["counters"][sys.argv[1]])' "$1"
}

# asked CMD...: how many requests of the kernel's it took; very many if it
# fails.
asked()
{
	_was=$(counter fuse_requests)
	quiet "$@" || _was=-1000000
	echo $(($(counter fuse_requests) - _was))
}

url=$(store_url file home)
format_home "$url"
start_mount "$url" "$m"
before=$(count_objects file home)
check "10,000 creates of 4 KiB" python3 -c '
import os, sys
top = sys.argv[1]
for d in range(10):
    os.mkdir(f"{top}/{d}")
    for i in range(1000):
        with open(f"{top}/{d}/{i}", "wb") as f:
            f.write(f"{d} {i} ".encode() * 1000)
            f.truncate(4096)' "$m"
check "sync" "$GNSFS" sync "$m"
gained=$(($(count_objects file home) - before))
kept=$(find "$(cache_of "$m")" -type f | wc -l)
check "the store has gained fewer than 100 objects: $gained" \
    [ "$gained" -lt 100 ]
check "the cache folder has fewer than 200 files: $kept" [ "$kept" -lt 200 ]
sums "$m" >"$T/sums"
check_eq "all are there" 10000 "$(wc -l <"$T/sums")"
stop_mount "$m"
rm -rf "$T/cache.m"
start_mount "$url" "$m"
sums "$m" | cmp -s - "$T/sums"
check_eq "and the same, from nothing" 0 $?
kept=$(find "$(cache_of "$m")" -type f | wc -l)
check "with fewer than 200 files again: $kept" [ "$kept" -lt 200 ]
stop_mount "$m"
start_mount "$url" "$m"

walk='import os, sys
n = sum(e.stat().st_size == 4096 for e in os.scandir(sys.argv[1]))
sys.exit(n != 1000)'
n=$(asked python3 -c "$walk" "$m/4")
check "a folder of 1,000 and their sizes: $n requests, fewer than 60" \
    [ "$n" -lt 60 ]
n=$(asked python3 -c "$walk" "$m/4")
check "once more: $n, fewer than 5" [ "$n" -lt 5 ]
echo new >"$m/4/1000"
rm "$m/4/1000"
n=$(asked python3 -c "$walk" "$m/4")
check "after a change in it: $n, fewer than 60" [ "$n" -lt 60 ]
sums "$m/3" | sed 's, \./, ./3/,' | LC_ALL=C sort >"$T/part"
check_eq "what is here is read as it was" "" \
    "$(LC_ALL=C sort "$T/sums" | LC_ALL=C comm -13 - "$T/part")"
check_eq "all of a folder" 1000 "$(wc -l <"$T/part")"
check_eq "each with its open" 1000 "$("$GNSFS" status --json "$m" |
    python3 -c 'import json, sys
print(json.load(sys.stdin)["counters"]["opens_fed"])')"
stop_mount "$m"
finish
