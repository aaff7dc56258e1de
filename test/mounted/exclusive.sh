# exclusive.sh: one host at a time.  A second one is refused before it changes
# anything, and told who and since when; with takeover the first is fenced,
# changes nothing any more, and what it had not stored can be copied out.

. "$(dirname "$0")/../lib.sh"
begin
a=$T/a
b=$T/b
url=$(store_url file home)

objects()
{
	(cd "$T/stores/home" && find . -type f -printf '%P %s %T@\n' | sort)
}

state()
{
	"$GNSFS" status "$1" --json >"$T/status.json"
	json "$T/status.json" 'j["write_state"]'
}

# is_fenced DIR
is_fenced()
{
	[ "$(state "$1")" = fenced ]
}

format_home "$url"
mount_as hosta "$url" "$a" lag=1h || bail "the first mount"
check_eq "the first may write" writable "$(state "$a")"
echo stored >"$a/stored"
check "it stores" "$GNSFS" sync "$a"
head -c 3000000 /dev/urandom >"$T/large"
echo "not stored" >"$T/small"
mkdir "$a/dir"
cp "$T/large" "$a/dir/large"
cp "$T/small" "$a/dir/small"
cp "$T/small" "$a/small"

# The large file is uploaded in the background; its record waits for the lag.
is_uploaded()
{
	"$GNSFS" status "$a" --json >"$T/status.json"
	[ "$(json "$T/status.json" \
	    'j["uploads"]["waiting"] + j["uploads"]["active"]')" = 0 ] &&
	    objects | grep -q ' 3000000 '
}
wait_for 30 is_uploaded || bail "the large file is not uploaded"

# --- refused ---
objects >"$T/before"
mount_as hostb "$url" "$b"
check_eq "a second host is refused" 1 $?
check_says "and told which one has it" hosta
check_says "since when" '20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]'
check_says "and the way out" takeover
check_fails "it is not mounted" is_mounted "$b"
objects | diff "$T/before" - >"$T/diff"
check "the store is as it was" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"
check_eq "the first goes on" writable "$(state "$a")"
check "to write" touch "$a/more"

# --- taken over ---
mount_as hostb "$url" "$b" takeover || { show_out; bail "takeover"; }
ok "with takeover it is not refused"
check_eq "and may write" writable "$(state "$b")"
check_eq "it has what was stored" stored "$(cat "$b/stored")"
check_fails "and nothing else" stat "$b/dir"
check "it writes" sh -c "echo new >'$b/new'"
check "and stores" "$GNSFS" sync "$b"
# The first would send only after an hour, but asks the log all the time.
check "the first finds itself fenced" wait_for 20 is_fenced "$a"
quiet "$GNSFS" status "$a"
check_says "status says so" fenced
check_says "and by whom" hostb
check_fails "it refuses to write" touch "$a/after"
check_says "as read-only" '[Rr]ead-only'
check_fails "in an open file's place too" sh -c "echo x >>'$a/small'"
check_fails "and to unlink" rm -f "$a/dir/small"
check "what it holds is read" cmp "$T/large" "$a/dir/large"
check "all of it" cmp "$T/small" "$a/small"
check_rc 1 "sync fails" "$GNSFS" sync "$a" --timeout 5s
objects >"$T/before"
check_rc 1 "its unmount says that there is more" "$GNSFS" umount "$a"
check_fails "it is off" is_mounted "$a"
rm -f "$(_slot "$a")"
objects | diff "$T/before" - >"$T/diff"
check "and nothing was sent" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"

# --- copied out ---
check "rescue" "$GNSFS" rescue "$T/cache.a" "$T/rescued"
check "a large one is copied out" cmp "$T/large" "$T/rescued/dir/large"
check "a small one" cmp "$T/small" "$T/rescued/dir/small"
check "and another" cmp "$T/small" "$T/rescued/small"
check_fails "not what is stored" stat "$T/rescued/stored"
check "it may be done again" "$GNSFS" rescue "$T/cache.a" "$T/rescued2"
check "with the same result" diff -r "$T/rescued" "$T/rescued2"

# --- a crash fences nobody else, and a clean unmount lets all in ---
echo crash >"$b/crash"
sync "$b/crash"
kill_mount "$b"
mount_as hostc "$url" "$T/c"
check_eq "a third host is refused after a crash" 1 $?
check_says "naming the second" hostb
mount_as hostb "$url" "$b"
check_eq "the second itself is not" 0 $?
check_eq "and has what it synced" crash "$(cat "$b/crash")"
stop_mount "$b"
mount_as hostc "$url" "$T/c"
check_eq "nor is the third after an unmount" 0 $?
check_eq "it has it all" "stored new crash" \
    "$(cat "$T/c/stored" "$T/c/new" "$T/c/crash" | tr '\n' ' ' |
    sed 's/ $//')"
check "fsck finds one digest" "$GNSFS" fsck "$T/c"
stop_mount "$T/c"

# --- mounted without the home, which another host changes meanwhile ---
# What is open and written has no op yet, and is a change all the same (L13).
home_away()
{
	mv "$T/stores/home" "$T/stores/away"
	start_mount "$url" "$a" cache="$T/cache.d" passthrough="$1"
}

# state_is DIR STATE: of the log
state_is()
{
	"$GNSFS" status "$1" --json >"$T/status.json"
	[ "$(json "$T/status.json" 'j["log"]["state"]')" = "$2" ]
}

for pass in auto off; do
	mount_as hosta "$url" "$a" cache="$T/cache.d" || bail "the first again"
	cp "$T/large" "$a/rewritten"
	cp "$T/small" "$a/removed"
	stop_mount "$a"
	mount_as hostb "$url" "$b" || bail "the second again"
	echo "by b" >"$b/rewritten"
	rm "$b/removed"
	stop_mount "$b"
	home_away "$pass"
	exec 3>>"$a/rewritten" 4>>"$a/removed"
	echo more >&3
	echo more >&4
	check "bytes are on disk ($pass)" sync "$a/rewritten" "$a/removed"
	mv "$T/stores/away" "$T/stores/home"
	check "the host is fenced ($pass)" wait_for 20 is_fenced "$a"
	exec 3>&- 4>&-
	quiet "$GNSFS" umount "$a"
	rm -f "$(_slot "$a")"
	check "rescue ($pass)" "$GNSFS" rescue "$T/cache.d" "$T/rescued.$pass"
	{ cat "$T/large"; echo more; } >"$T/want"
	check "what was rewritten is there ($pass)" \
	    cmp "$T/want" "$T/rescued.$pass/rewritten"
	{ cat "$T/small"; echo more; } >"$T/want"
	check "what was removed is there ($pass)" \
	    cmp "$T/want" "$T/rescued.$pass/removed"
	rm -rf "$T/cache.d"
done
finish
