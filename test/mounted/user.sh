# user.sh: a normal user's mounts, through fusermount3: with state where XDG
# says, closed to others, taken off by gnsfs, fusermount3 and, from a line in
# fstab, by mount(8) and umount(8).
# timeout: 120

. "$(dirname "$0")/../lib.sh"
own_mounts "$@"
begin
fuse_for_all
USER_ID=65534
USER_HOME=$T/home
other=65533
url=file://$T/home/store
m=$T/home/m
mkdir "$T/home"
chown $USER_ID:$USER_ID "$T/home"
chmod 755 "$T" "$T/home"
as_user mkdir "$T/home/store" "$m"
XDG_STATE_HOME=$T/home/state
export XDG_STATE_HOME

# as_other CMD...: another one.
as_other()
{
	(USER_ID=$other && as_user "$@")
}

# daemon: the process id, of the mount on $m.
daemon()
{
	_find_daemon "$m"
}

# up: a mount by the user, of which the end of the test knows.
up()
{
	printf 'dir=%s\n' "$m" >"$(_slot "$m")"
	as_user "$GNSFS" mount "$url" "$m" "$@" && is_mounted "$m"
}

# down CMD...: off by CMD; the daemon ends by itself.
down()
{
	_pid=$(daemon)
	as_user "$@" && ! is_mounted "$m" &&
	    wait_for 20 test ! -d "/proc/$_pid" && rm -f "$(_slot "$m")"
}

# --- as that user ---
check "format" as_user "$GNSFS" format "$url" --name mine
check "mount" up
check "status says why passthrough is off, before a file was opened" as_user \
    "$GNSFS" status "$m" --json
check_says "which is who mounts" '"passthrough": "off: .*CAP_SYS_ADMIN'
state=$(echo "$T/home/state"/gnsfs/mine-*)
check_eq "the state is the user's alone, where XDG says" "700 $USER_ID" \
    "$(stat -c '%a %u' "$state")"
check "the database is there" test -s "$state/state.db"
check_eq "the daemon is the user's" $USER_ID \
    "$(awk '/^Uid:/ { print $2 }' "/proc/$(daemon)/status")"
check "write" as_user sh -c "head -c 3000000 /dev/urandom >'$m/a'; mkdir \
    '$m/d'; echo small >'$m/d/b'"
sum=$(as_user sha256sum "$m/a")
check "sync" as_user "$GNSFS" sync "$m"
check_eq "read" "$sum" "$(as_user sha256sum "$m/a")"
check "pin" as_user "$GNSFS" pin "$m/d" --wait
check "status" as_user "$GNSFS" status "$m"
check "status says why passthrough is off" as_user sh -c \
    "'$GNSFS' status '$m' --json | grep -E '\"passthrough\": \"off: .+\"'"
check "explain" as_user "$GNSFS" explain "$m/a"
check_says "says that passthrough is off" "passthrough is off"

# --- and nobody else ---
for who in as_other env; do	# env: root, whom FUSE keeps out as well
	check_fails "$who cannot enter it" $who ls "$m"
	check_fails "$who cannot read in it" $who cat "$m/d/b"
done
check_fails "the state is closed to another user" as_other ls "$state"
ask='import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"{\"cmd\":\"status\"}\n")
print(s.recv(100))'
sock=$state/control.sock
check "the control socket is there" test -S "$sock"
check_fails "and refuses another user" \
    as_other /usr/bin/python3 -c "$ask" "$sock"
check_says "with EACCES" "PermissionError"
check_fails "another user has no status of it" as_other "$GNSFS" status "$m"
check_fails "nor a way to unmount it" as_other "$GNSFS" umount "$m"
check_fails "not even by fusermount3" as_other fusermount3 -u "$m"
check "it stands" is_mounted "$m"

# --- off and on ---
check "gnsfs umount" down "$GNSFS" umount "$m"
check "mount again" up -o lag=10s
check "written late" as_user sh -c "echo late >'$m/late'"
check "fusermount3 -u" down fusermount3 -u "$m"
check "and again" up
check_eq "what was written is there" late "$(as_user cat "$m/late")"
check_eq "all of it" "$sum" "$(as_user sha256sum "$m/a")"
check "umount(8) takes off a user's own mount" down umount "$m"

# --- from fstab ---
lend_helper
echo "$url $m gnsfs user,noauto,lag=1s 0 0" >"$T/fstab"
chmod 644 "$T/fstab"
mount --bind "$T/fstab" /etc/fstab || bail "no fstab of our own"
printf 'dir=%s\n' "$m" >"$(_slot "$m")"
check "mount DIR by the line in fstab" as_user mount "$m"
check "is up" is_mounted "$m"
check_eq "as the user" $USER_ID \
    "$(awk '/^Uid:/ { print $2 }' "/proc/$(daemon)/status")"
opts=$(awk -v d="$m" '$5 == d { print $6 }' /proc/self/mountinfo)
check_eq "nosuid, nodev and noexec, as the option user implies" 3 \
    "$(echo "$opts" | tr , '\n' | grep -cE '^(nosuid|nodev|noexec)$')"
check_eq "with the files" late "$(as_user cat "$m/late")"
check "umount DIR" down umount "$m"
printf 'dir=%s\n' "$m" >"$(_slot "$m")"
umount /etc/fstab
check "mount -t gnsfs without a line" as_user mount -t gnsfs "$url" "$m"
check "is up, too" is_mounted "$m"
check "umount DIR of that" down umount "$m"

# --- as root ---
check "mount -t gnsfs" mount -t gnsfs "$url" "$m" -o "state=$T/root"
printf 'dir=%s\n' "$m" >"$(_slot "$m")"
for opts in remount,ro remount,lag=5s; do
	check_fails "$opts is refused" mount -o $opts "$m"
	check_says "in a sentence" "remount.*umount"
done
check "the kernel's part of it is not" mount -i -o remount,ro "$m"
check_fails "and holds" touch "$m/new"
check "nor its end" mount -i -o remount,rw "$m"
check "and it is written again" touch "$m/new"
stop_mount "$m"
finish
