# memory.sh: what memory= says holds, with many readers at once, and with a
# file twice as large as the cache that is read, and one that is written.
# build: plain
#
# READERS files are open and read sequentially by a thread each (200; 1,000 in
# the full form).  A sanitizer's shadow would be counted: the plain program.

. "$(dirname "$0")/../lib.sh"
begin
READERS=1000
[ -z "${GNSFS_TEST_SHORT:-}" ] || READERS=200
m=$T/m
url=$(store_url file home)
lake=$(store_url file lake)
dir=$(store_dir file lake)
large=$(store_url file large)
format_home "$url"

# peak: what the daemon has used at most, MiB.
peak()
{
	"$GNSFS" status "$m" --json >"$T/status" &&
	    python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["peak_memory"] >> 20)' "$T/status"
}

i=0
while [ $i -lt $READERS ]; do
	i=$((i + 1))
	{ echo "file $i"; head -c 3000000 /dev/zero; } >"$dir/$i"
done
(cd "$dir" && sha256sum -- *) | sort >"$T/want"

head -c 134217728 /dev/urandom >"$T/large"
cp "$T/large" "$(store_dir file large)/f"
start_mount "$url" "$m" memory=64M,passthrough=off
check "import of a large one" "$GNSFS" import "$large" "$m/large"
check "import" "$GNSFS" import "$lake" "$m/lake"
check "$READERS readers at once" python3 -c '
import hashlib, os, sys, threading
top, out = sys.argv[1:]
names = os.listdir(top)
files = {n: os.open(os.path.join(top, n), os.O_RDONLY) for n in names}
sums = {}
def read(n):
    h = hashlib.sha256()
    while True:
        part = os.read(files[n], 131072)
        if not part:
            break
        h.update(part)
    sums[n] = h.hexdigest()
threads = [threading.Thread(target=read, args=(n,)) for n in names]
for t in threads:
    t.start()
for t in threads:
    t.join()
with open(out, "w") as f:
    for n in names:
        f.write(f"{sums[n]}  {n}\n")' "$m/lake" "$T/have"
sort "$T/have" | cmp -s - "$T/want"
check_eq "what each has read is right" 0 $?
n=$(peak)
check "the daemon has used less than 64 MiB: $n" [ "$n" -lt 64 ]
stop_mount "$m"

rm -rf "$T/cache.m"
start_mount "$url" "$m" memory=64M,cache_size=64M,passthrough=off,lag=100ms
check "a file twice as large as the cache is read" cmp "$T/large" "$m/large/f"
n=$(peak)
check "the daemon has used less than 64 MiB: $n" [ "$n" -lt 64 ]
check "and written" cp "$T/large" "$m/written"
check "and read back" cmp "$T/large" "$m/written"
n=$(peak)
check "the daemon has used less than 64 MiB: $n" [ "$n" -lt 64 ]
stop_mount "$m"
finish
