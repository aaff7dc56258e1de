# uring.sh: the kernel's requests by io_uring (fs/fuse_ring.h): when they come
# so, what is closed is there before what is published after it (L3), readers
# that wait for a store keep nobody waiting, and how it ends.  all.sh runs other
# tests so, too.
# build: plain
#	It ends daemons whose files are open, and those are not freed.

. "$(dirname "$0")/../lib.sh"
begin
parameter=/sys/module/fuse/parameters/enable_uring
py=$TOP/test/mounted/uring.py
url=$(store_url file home)
m=$T/m

state()
{
	"$GNSFS" status --json "$m" >"$T/status" &&
	    json "$T/status" 'j["uring"]'
}

format_home "$url"
start_mount "$url" "$m" uring=off
check_eq "uring=off" "off: by option" "$(state)"
echo one >"$m/before"
stop_mount "$m"
if [ ! -w "$parameter" ]; then
	start_mount "$url" "$m" uring=on
	check_eq "without a kernel that has it" \
	    "off: the kernel does not offer it" "$(state)"
	skip "requests by io_uring" "no parameter enable_uring to write to"
	stop_mount "$m"
	finish
fi

was=$(cat "$parameter")
echo N >"$parameter"
start_mount "$url" "$m"
check_eq "auto, and the parameter is not set" \
    "off: the kernel does not offer it" "$(state)"
stop_mount "$m"
start_mount "$url" "$m" uring=on,lag=50ms
check_eq "on sets it" "Y on" "$(cat "$parameter") $(state)"
check_eq "what was written the other way" one "$(cat "$m/before")"
check_rc 2 "another word is refused" try_mount "$url" "$T/other" uring=often
check_says "and which there are" "uring=auto"

# --- L3: closed by one core, published by another ---
start_mount "$url" "$T/r" ro,poll=20ms
spawn python3 "$py" follow "$T/r" 150
follower=$!
check "files that are closed, and links to them, by all cores" timeout 60 \
    python3 "$py" publish "$m" 150
check "who follows sees no link before its file's bytes" wait $follower
check "a descriptor that stays open elsewhere keeps no rename waiting" \
    timeout 60 python3 "$py" shared "$m"
check "and what it wrote was stored before" wait_for 10 \
    test -e "$T/r/shared.new"
check_eq "all of it" "$(cat "$m/shared")" "$(cat "$T/r/shared")"
stop_mount "$T/r"

# --- readers that wait ---
mkdir "$T/stores/lake" "$m/far"
check "another store" "$GNSFS" store add lake "$(store_url file lake)" -n "$m"
check "for a folder" "$GNSFS" policy set "$m/far" store=lake
for i in $(seq 80); do
	head -c 100000 /dev/zero >"$m/far/$i"
done
check "sync" "$GNSFS" sync "$m"
stop_mount "$m"
start_mount "$url" "$m" uring=on,offline=wait,cache="$T/cache.2",takeover
ls -l "$m/far" >"$T/out"
mv "$T/stores/lake" "$T/stores/away"
spawn python3 "$py" readers "$m/far" 80
readers=$!
sleep 3
check "80 readers wait for a store: names are made" timeout 5 sh -c \
    "for i in 1 2 3 4 5 6 7 8; do mkdir '$m/d'\$i; done"
check "files are written and read" timeout 5 sh -c \
    "for i in 1 2 3 4 5 6 7 8; do echo \$i >'$m/d'\$i/f; done;
    cat '$m'/d*/f"
check "by each core" timeout 5 python3 "$py" cores "$m"
mv "$T/stores/away" "$T/stores/lake"
check "it is back: all have read" wait $readers

# --- the end ---
mv "$T/stores/lake" "$T/stores/away"
"$GNSFS" evict "$m/far/*" >"$T/out" 2>&1
spawn python3 "$py" readers "$m/far" 20
readers=$!
sleep 1
pid=$(mount_pid "$m")
kill -TERM "$pid"
gone()
{
	! kill -0 "$pid" 2>/dev/null
}
check "a daemon that is ended while 20 wait ends" wait_for 30 gone
wait $readers
check "and they with it" gone
mv "$T/stores/away" "$T/stores/lake"
umount -l "$m" 2>/dev/null
start_mount "$url" "$m" uring=on,cache="$T/cache.2"
for i in 1 2 3; do
	echo $i >"$m/kept$i"
done
kill_mount "$m"
start_mount "$url" "$m" uring=on,cache="$T/cache.2"
check_eq "kill -9, and all is there" "1 2 3" "$(cat "$m"/kept? | xargs)"
stop_mount "$m"
echo "$was" >"$parameter"
finish
