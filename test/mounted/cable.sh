# cable.sh: a cut cable.  Behind a proxy that refuses connections, says
# nothing, resets, answers 503, or answers a byte at a time, the tree, what is
# cached or pinned, and every change go on at full speed; an uncached read
# fails within io_timeout, later ones at once, or wait where that was asked
# for; on return all that was queued is stored, in order, by itself.  Bounds
# that are the documented ones have a second more, for a busy machine.
# timeout: 400

. "$(dirname "$0")/../lib.sh"
begin
start_s3
s3_bucket home
s3_bucket lake
m=$T/m
py="python3 $TOP/test/mounted/cable.py"
hang=0			# the longest that anything took that must not wait, ms
made=0			# files

: >"$T/rules"
: >"$T/faults"
spawn python3 "$TOP/test/mounted/proxy.py" "$T/port" "$S3_PORT" "$T/rules" \
    "$T/faults"
wait_for 10 test -s "$T/port" || bail "the proxy does not start"
through=http://127.0.0.1:$(cat "$T/port")
url="s3://home?endpoint=$through&region=$AWS_REGION"
lake="s3://lake?endpoint=$through&region=$AWS_REGION"
direct=$(s3_url home)

# sever MODE; heal
sever()
{
	echo "$1 any /1" >"$T/rules.new"
	mv "$T/rules.new" "$T/rules"
}

heal()
{
	: >"$T/rules.new"
	mv "$T/rules.new" "$T/rules"
}

# random FILE BYTES
random()
{
	head -c "$2" /dev/urandom >"$1"
}

# below NAME LIMIT MS: no more than that; the longest of what is to be fast is
# kept.
below()
{
	[ "$3" -le $hang ] || [ "$2" -gt 1000 ] || hang=$3
	[ "$3" -le "$2" ] && { ok "$1"; return 0; }
	fail "$1" "$3 ms; at most $2 were to be"
}

# timed CMD...: as quiet; what it took into $ms.
timed()
{
	_t=$(now_ms)
	quiet "$@"
	_rc=$?
	ms=$(($(now_ms) - _t))
	return $_rc
}

status()
{
	"$GNSFS" status "$m" --json >"$T/status.json"
}

# says NAME EXPR: true of what status says.
says()
{
	status && [ "$(json "$T/status.json" "($2)")" = True ] &&
	    { ok "$1"; return 0; }
	sed 's/^/# /' "$T/status.json" | grep -v counters | head -60
	fail "$1" "$2"
}

# store NAME FIELD: an expression for says.
store()
{
	echo "[s['$2'] for s in j['stores'] if s['name'] == '$1'][0]"
}

drained()
{
	status && [ "$(json "$T/status.json" 'j["pending"]["ops"]')" = 0 ]
}

# works NAME DIR: 200 files, and no operation over a second; $took ms.
works()
{
	quiet $py work "$2" 200 || { show_out; fail "$1"; return 1; }
	read -r took longest <"$T/out"
	made=$((made + 200))
	below "$1" 1000 "$longest"
}

# tree NAME: all that was there when `before` was written.
tree()
{
	quiet $py tree "$m/tree" || { show_out; fail "$1"; return 1; }
	read -r _n _hash _ms <"$T/out"
	check_eq "$1" "$before" "$_n $_hash"
	below "  without waiting" 1000 "$_ms"
	check_eq "  find and ls too" "$((_n + 1))" \
	    "$(find "$m/tree" | wc -l)"
	[ -n "$(ls "$m/tree")" ] || fail "a directory is empty"
}

# same NAME SUMS DIR
same()
{
	_t=$(now_ms)
	sums "$3" 2>"$T/out" | diff "$2" - >>"$T/out"
	check "$1" sh -c "[ ! -s '$T/out' ] || { head '$T/out'; false; }"
	below "  without waiting" 3000 $(($(now_ms) - _t))
}

# --- what there is ---
format_home "$direct" --name cable
start_mount "$url" "$m" lag=50ms
mkdir "$m/tree" "$m/cached" "$m/pinned" "$m/cold" "$m/o"
for d in 1 2 3 4 5 6 7 8; do
	mkdir "$m/tree/d$d"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		echo "$d $i" >"$m/tree/d$d/f$i"
	done
done
for d in cached pinned; do
	random "$m/$d/small" 5000
	random "$m/$d/large" 3500000
done
modes="refuse hold reset 503 slow"
for mode in $modes wait again; do
	mkdir "$m/cold/$mode"
	for i in 1 2 3 4; do
		random "$m/cold/$mode/small$i" 3000
	done
	random "$m/cold/$mode/large1" 2500000
	random "$m/cold/$mode/large2" 2500000
done
i=0
mkdir "$m/cold/many"
while [ $i -lt 60 ]; do
	i=$((i + 1))
	random "$m/cold/many/$i" $((i % 2 * 120000 + 2000))
done
check "sync" "$GNSFS" sync "$m"
sums "$m/cached" >"$T/cached.sums"
sums "$m/pinned" >"$T/pinned.sums"
sums "$m/cold" >"$T/cold.sums"
quiet $py tree "$m/tree"
before=$(cut -d' ' -f1,2 "$T/out")
stop_mount "$m"

# Another host, which has none of the bytes; and one that only looks on.
opts=lag=50ms,io_timeout=2s,cache=$T/cache.b
start_mount "$url" "$m" "$opts"
start_mount "$direct" "$T/ro" ro,poll=50ms
sums "$m/cached" | diff "$T/cached.sums" - || fail "cached files"
check "pin" "$GNSFS" pin "$m/pinned" --wait

# --- an outage ---

# read_now NAME FILE LIMIT WANT: a read that ends with WANT within LIMIT ms.
read_now()
{
	quiet $py read "$2"
	read -r _ms _got _sum <"$T/out"
	check_eq "$1" "$4" "$_got"
	below "  within $3 ms" "$3" "$_ms"
}

# What is queued, oldest first: the last one is never seen before the others.
queue()
{
	mkdir "$1"
	_i=0
	while [ $_i -lt 20 ]; do
		_i=$((_i + 1))
		random "$1/$_i" $((_i % 5 == 0 ? 300000 : 500 * _i))
	done
	sums "$1" >"$T/queue.sums"
	echo last >"$1/last"
}

# looked NAME DIR: from the other mount.  1: the last one is not there yet.
looked()
{
	[ -e "$T/ro/$2/last" ] || return 1
	rm -f "$T/queue.seen"
	(cd "$T/ro/$2" && find . -type f ! -name last -print0 |
	    LC_ALL=C sort -z | xargs -0r sha256sum) >"$T/queue.seen"
	cmp -s "$T/queue.sums" "$T/queue.seen" && return 0
	fail "$1: the last is there, and all before it" \
	    "$(diff "$T/queue.sums" "$T/queue.seen" | head -4)"
	return 0
}

# comes_back MODE: all is stored by itself, in order.
comes_back()
{
	_t=$(now_ms)
	heal
	until looked "$1" "o/$1.queue"; do
		[ $(($(now_ms) - _t)) -lt 90000 ] || break
		sleep 0.1
	done
	wait_for 60 drained || { show_out; fail "$1: all is stored"; }
	say "$1: all that was queued was stored $(($(now_ms) - _t)) ms" \
	    "after the return"
	wait_for 5 test -e "$T/ro/o/$1.queue/last"
	check "$1: another host has all of it, the last included" \
	    looked "$1" "o/$1.queue"
	says "$1: the store is up again" "$(store home up)"
	grep " \./$1/" "$T/cold.sums" >"$T/some.sums"
	(cd "$m/cold" && find "./$1" -type f -print0 | LC_ALL=C sort -z |
	    xargs -0r sha256sum) 2>&1 | diff "$T/some.sums" - >"$T/diff"
	check "$1: what could not be read can be" \
	    sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
}

# Small files come with those beside them that were read (fs/ahead.h).
forget_cold()
{
	"$GNSFS" evict "$m/cold/$mode" >"$T/out" 2>&1 ||
	    fail "$mode: evict" "$(cat "$T/out")"
}

# outage MODE [UMOUNT]
outage()
{
	mode=$1
	works "$mode: 200 files before the cut" "$m/o/$mode.before"
	was=$took
	wait_for 30 drained || fail "$mode: stored before the cut"
	rm -f "$T/stop"
	$py states "$T" "$T/stop" >"$T/dstate" &
	watch=$!
	forget_cold
	sever "$mode"
	$py read "$m/cold/$mode/large1" >"$T/first" &
	first=$!
	works "$mode: 200 files at the moment of the cut" "$m/o/$mode.at"
	tree "$mode: the tree as before"
	wait $first
	read -r _ms _got _sum <"$T/first"
	check_eq "$mode: the first uncached read fails" EIO "$_got"
	[ "$_ms" -le 3000 ] && ok "  within io_timeout" ||
	    fail "  within io_timeout" "$_ms ms"
	say "$mode: the first uncached read failed after $_ms ms"
	says "$mode: the store is known to be down" \
	    "not $(store home up) and $(store home why) != ''"
	read_now "$mode: a second one fails at once" \
	    "$m/cold/$mode/large2" 1000 EIO
	read_now "$mode: of the first file too" \
	    "$m/cold/$mode/large1" 1000 EIO
	read_now "$mode: of a small file too" \
	    "$m/cold/$mode/small1" 1000 EIO
	queue "$m/o/$mode.queue"
	works "$mode: 200 files in the outage" "$m/o/$mode.in"
	say "$mode: 200 files took $took ms; before the cut $was ms"
	tree "$mode: the tree as before"
	same "$mode: cached files" "$T/cached.sums" "$m/cached"
	same "$mode: pinned files" "$T/pinned.sums" "$m/pinned"
	sleep 1
	says "$mode: what waits is told" "j['pending']['ops'] > 400 and
	    j['pending']['bytes'] > 1200000 and
	    j['pending']['files'] > 200 and
	    j['pending']['oldest_age'] > 1e9 and
	    j['pending']['why'] != ''"
	check "  in words" "$GNSFS" status "$m"
	check_says "  the store" 'store +home DOWN'
	check_says "  what waits, and how old it is" \
	    'not stored +[0-9]+ changes, [0-9]+ files.*oldest .* old'
	timed "$GNSFS" sync "$m" --timeout 2s
	check_eq "$mode: sync fails" 1 $_rc
	check_says "  and says why" 'changes.*wait.*(home|127\.0\.0\.1)'
	below "  in its time" 3000 "$ms"
	[ -z "${2:-}" ] || remount
	: >"$T/stop"
	wait $watch
	dstate=$(cat "$T/dstate")
	say "$mode: the longest in state D: $dstate ms"
	comes_back "$mode"
}

# The mount again, as start_mount would; the command alone is timed.
mount_again()
{
	timed "$GNSFS" mount "$url" "$m" -o "$opts"
	printf 'dir=%s\ncache=%s\npid=%s\n' "$m" "$(cache_of "$m")" \
	    "$(_find_daemon "$m")" >"$T/slot"
	mv "$T/slot" "$(_slot "$m")"
	return $_rc
}

# Off and on again while the store is away; and without state.
remount()
{
	timed "$GNSFS" umount "$m" --timeout 2s
	check_eq "$mode: umount says that not all is stored" 1 $_rc
	check_says "  how much, how old, and where it is" \
	    'changes with .* not stored yet, the oldest .* old; kept in'
	below "  in its time" 6000 "$ms"
	is_mounted "$m" && fail "  and it is off"
	mount_again
	check_eq "$mode: a mount with state works" 0 $_rc
	check_says "  and warns" 'state="?offline'
	below "  in its time" 10000 "$ms"
	says "  status says so" "j['log']['state'] == 'offline' and
	    not $(store home up) and j['write_state'] == 'writable' and
	    j['pending']['ops'] > 400"
	tree "  the tree as before"
	same "  cached files" "$T/cached.sums" "$m/cached"
	same "  pinned files" "$T/pinned.sums" "$m/pinned"
	works "  200 files" "$m/o/$mode.again"
	mkdir -p "$T/n"
	timed "$GNSFS" mount "$url" "$T/n" -o "cache=$T/cache.n"
	check_eq "$mode: a mount without state fails" 1 $_rc
	check_says "  and says why" "gnsfs: .*bucket 'home'.*no state of this"
	below "  in its time" 10000 "$ms"
}

# The same in short.
glance()
{
	mode=$1
	forget_cold
	sever "$mode"
	works "$mode: 200 files at the moment of the cut" "$m/o/$mode.at"
	read_now "$mode: the first uncached read fails" \
	    "$m/cold/$mode/large1" 3000 EIO
	read_now "$mode: a second one fails at once" \
	    "$m/cold/$mode/large2" 1000 EIO
	read_now "$mode: of a small file too" \
	    "$m/cold/$mode/small1" 1000 EIO
	queue "$m/o/$mode.queue"
	tree "$mode: the tree as before"
	same "$mode: cached files" "$T/cached.sums" "$m/cached"
	says "$mode: the store is known to be down" \
	    "not $(store home up) and j['pending']['why'] != ''"
	comes_back "$mode"
}

outage hold umount
if [ -n "${GNSFS_TEST_SHORT:-}" ]; then
	glance refuse
	glance reset
	glance 503
	glance slow
else
	outage refuse umount
	outage reset
	outage 503 umount
	outage slow
fi

# --- offline=wait ---
# Many wait at once, for longer than io_timeout; nobody waits with them.
stop_mount "$m"
start_mount "$url" "$m" "$opts,offline=wait"
mode=wait
forget_cold
sever hold
# shellcheck disable=SC2046 # words
$py many $(seq -f "$m/cold/many/%g" 1 60) >"$T/many" &
many=$!
$py read "$m/cold/wait/large1" >"$T/first" &
first=$!
works "wait: 200 files while 61 reads wait" "$m/o/wait.at"
same "wait: cached files" "$T/cached.sums" "$m/cached"
sleep 4
check "wait: they wait for longer than io_timeout" kill -0 $first $many
says "wait: the store is known to be down" "not $(store home up)"
works "wait: 200 files" "$m/o/wait.in"
tree "wait: the tree as before"
same "wait: cached files" "$T/cached.sums" "$m/cached"
same "wait: pinned files" "$T/pinned.sums" "$m/pinned"
quiet $py dies 1 "$m/cold/wait/large2"
below "wait: who waits can be ended" 1000 "$(cat "$T/out")"
quiet $py dies 1 "$m/cold/wait/small1" direct
below "wait: and interrupted" 1000 "$(cat "$T/out")"
_t=$(now_ms)
heal
wait $first
wait $many
say "wait: all reads ended $(($(now_ms) - _t)) ms after the return"
check_eq "wait: the read ends with the right bytes" \
    "$(grep ' \./wait/large1$' "$T/cold.sums" | cut -d' ' -f1)" \
    "$(sed -n 's/^[0-9]* ok //p' "$T/first")"
check_eq "wait: all of them do" "60 0" "$(cut -d' ' -f1,2 "$T/many")"
(cd "$m/cold" && sha256sum -c --quiet "$T/cold.sums") >"$T/out" 2>&1
check_eq "wait: every byte" "" "$(cat "$T/out")"
wait_for 30 drained || fail "wait: all is stored"
stop_mount "$m"

# --- two stores, one of them away ---
mkdir "$T/lake.src"
i=0
while [ $i -lt 60 ]; do
	i=$((i + 1))
	random "$S3_DIR/objects/lake/$i" $((i % 2 * 200000 + 3000))
done
sums "$S3_DIR/objects/lake" >"$T/lake.sums"
rm -rf "$T/cache.b"
start_mount "$direct" "$m" "$opts"
check "import" "$GNSFS" import "$lake" "$m/lake" --mode 0644
check "sync" "$GNSFS" sync "$m"
sha256sum "$m/lake/59" >"$T/59.sum"
sever hold
# shellcheck disable=SC2046 # words
$py many $(seq -f "$m/lake/%g" 1 58) >"$T/many" &
many=$!
sleep 1
$py many "$m"/cold/again/* "$m"/cold/hold/* >"$T/others"
read -r _ok _bad _shortest _longest <"$T/others"
check_eq "two stores: files of the other are read" "12 0" "$_ok $_bad"
below "  without waiting" 3000 "$_longest"
works "two stores: 200 files" "$m/o/two"
timed "$GNSFS" sync "$m"
check_eq "two stores: and stored" 0 $_rc
wait $many
read -r _ok _bad _shortest _longest <"$T/many"
check_eq "two stores: what is away cannot be read" "0 58" "$_ok $_bad"
[ "$_longest" -le 3500 ] && ok "  within io_timeout" ||
    fail "  within io_timeout" "$_longest ms"
read_now "two stores: later reads fail at once" "$m/lake/60" 1000 EIO
check "two stores: what is cached can be read" sha256sum -c "$T/59.sum"
check_eq "two stores: its tree is there" 60 "$(ls "$m/lake" | wc -l)"
says "two stores: status names the one" \
    "not $(store lake up) and $(store home up)"
check "  in words" "$GNSFS" status "$m"
check_says "  the store" 'store +lake DOWN'
heal
up()
{
	status && [ "$(json "$T/status.json" "$(store lake up)")" = True ]
}
check "two stores: it comes back" wait_for 20 up
check_eq "two stores: every byte" "" \
    "$(sums "$m/lake" | diff "$T/lake.sums" -)"
stop_mount "$m"
stop_mount "$T/ro"
start_mount "$direct" "$m" "cache=$T/fresh"
check "fsck finds one digest" "$GNSFS" fsck "$m"
(cd "$m/cold" && sha256sum -c --quiet "$T/cold.sums") >"$T/out" 2>&1
check_eq "a fresh host reads every byte" "" "$(cat "$T/out")"
check_eq "and has every file" $made \
    "$(find "$m/o" -name 'f[0-9]*' | wc -l)"
stop_mount "$m"

# --- uploads that hang, and readers ---
# All that may be uploaded at once hangs; who reads is not behind it.
start_mount "$url" "$m" "lag=50ms,io_timeout=10s,cache=$T/beside"
printf 'hold %s /1\n' data create part >"$T/rules"
was=$(wc -l <"$T/faults")
i=0
while [ $i -lt 20 ]; do
	i=$((i + 1))
	random "$m/o/stuck$i" 3000000
done
stuck()
{
	[ $(($(wc -l <"$T/faults") - was)) -ge 4 ]
}
check "uploads hang" wait_for 20 stuck
$py many "$m"/cold/again/* "$m"/cold/hold/* >"$T/others"
read -r _ok _bad _shortest _longest <"$T/others"
check_eq "files are read beside them" "12 0" "$_ok $_bad"
below "  without waiting" 3000 "$_longest"
says "  and they hang yet" "j['uploads']['waiting'] >= 20"
heal
check "they are stored when it goes on" "$GNSFS" sync "$m"
stop_mount "$m"

# --- a directory whose disk goes away ---
# gone: the folder itself; bare: what it was mounted on is there, empty.
ended()
{
	_rc=$?
	umount -l "$disk" 2>/dev/null
	(exit $_rc)
	_finish
}

disk=$T/stores/disk
trap ended EXIT
mkdir -p "$disk" "$T/disk"
mount --bind "$T/disk" "$disk" || bail "mount --bind"
url=file://$disk
made=0
opts=lag=50ms,io_timeout=2s,cache=$T/cache.f
format_home "$url" --name disk
start_mount "$url" "$m" "$opts"
mkdir "$m/o" "$m/cold"
for i in 1 2 3 4; do
	random "$m/cold/$i" 200000
done
check "sync" "$GNSFS" sync "$m"
check "evict" "$GNSFS" evict "$m/cold"
sums "$m/cold/" >"$T/cold.sums"
check "evict" "$GNSFS" evict "$m/cold"

# leaves HOW; returns HOW
leaves()
{
	check "$1: off" umount "$disk"
	[ "$1" != gone ] || rmdir "$disk"
}

returns()
{
	[ "$1" != gone ] || mkdir "$disk"
	mount --bind "$T/disk" "$disk" || bail "mount --bind"
}

goes_on()
{
	sleep 1
	says "$1: it waits" "j['pending']['ops'] > 400 and
	    not $(store home up)"
	check_eq "$1: nothing is written in its place" "" \
	    "$(find "$disk" -mindepth 1 2>/dev/null)"
	_t=$(now_ms)
	returns $1
	check "$1: all is stored by itself" wait_for 40 drained
	say "$1: $(($(now_ms) - _t)) ms after the return"
	says "$1: the store is up again" "$(store home up)"
	check_eq "$1: and read" "" "$(sums "$m/cold" |
	    diff "$T/cold.sums" -)"
	check "$1: evict" "$GNSFS" evict "$m/cold"
}

for how in bare gone; do
	leaves $how
	works "$how: 200 files at once" "$m/o/$how.at"
	read_now "$how: an uncached file cannot be read" "$m/cold/1" 3000 EIO
	wait_for 8 says "$how" "not $(store home up)" >/dev/null
	says "$how: the store is known to be down" "not $(store home up) and
	    $(store home why) != '' and j['pending']['ops'] > 400"
	read_now "$how: nor another" "$m/cold/2" 1000 EIO
	if [ $how = gone ] && [ -n "${GNSFS_TEST_SHORT:-}" ]; then
		goes_on $how
		continue
	fi
	works "$how: 200 files" "$m/o/$how.in"
	timed "$GNSFS" umount "$m" --timeout 1s
	check_eq "$how: umount says that not all is stored" 1 $_rc
	below "  in its time" 6000 "$ms"
	mount_again
	check_eq "$how: a mount with state works" 0 $_rc
	check_says "  and warns" 'state="?offline'
	below "  in its time" 10000 "$ms"
	works "$how: 200 files" "$m/o/$how.again"
	check_fails "$how: a mount without state fails" \
	    "$GNSFS" mount "$url" "$T/n" -o "cache=$T/cache.n"
	goes_on $how
done
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
start_mount "$url" "$m" "cache=$T/fresh.f"
check_eq "a fresh host has every file" $made \
    "$(find "$m/o" -name 'f[0-9]*' | wc -l)"
stop_mount "$m"
umount "$disk"
say "the longest of what must not wait: $hang ms"
finish
