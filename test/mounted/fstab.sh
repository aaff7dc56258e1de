# fstab.sh: the lines in fstab that README and mount.gnsfs(8) have, as systemd
# and mount(8) take them; and a mount that a container has a copy of.

. "$(dirname "$0")/../lib.sh"
own_mounts "$@"
begin
generator=/usr/lib/systemd/system-generators/systemd-fstab-generator
[ -x $generator ] || generator=/lib/systemd/system-generators/${generator##*/}
[ -x $generator ] || bail "$generator is missing: sh test/deps.sh test"

# --- a mount of which another mount namespace has a copy: see the end ---
format_home "$(store_url file held)" --name held
start_mount "$(store_url file held)" "$T/held"
daemon=$(mount_pid "$T/held")
unshare -m tail --pid=$$ -f /dev/null &
holder=$!
echo $holder >>"$T/.spawned"
is_apart()
{
	[ "$(readlink "/proc/$holder/ns/mnt")" != \
	    "$(readlink /proc/self/ns/mnt)" ]
}
wait_for 10 is_apart || bail "unshare makes no mount namespace"
spawn sh -c "'$GNSFS' umount '$T/held' >'$T/held.out' 2>&1
    echo \$? >'$T/held.rc'"

# generate NAME: units of $T/NAME.fstab, in $T/NAME.
generate()
{
	mkdir "$T/$1" "$T/$1/early" "$T/$1/late" &&
	    SYSTEMD_FSTAB=$T/$1.fstab SYSTEMD_LOG_TARGET=console \
	    $generator "$T/$1" "$T/$1/early" "$T/$1/late"
}

# has NAME UNIT LINE: the unit has this line.
has()
{
	check "$2 has $3" grep -qxF -e "$3" "$T/$1/$2"
}

# --- README's line ---
sed -n 's/^ *\(s3:.* gnsfs .* 0 0\)$/\1/p' "$TOP/README" >"$T/readme.fstab"
check_eq "README has a line for fstab" 1 "$(wc -l <"$T/readme.fstab")"
read -r what where type opts _ <"$T/readme.fstab"
check_eq "of this type" gnsfs "$type"
check "systemd makes a unit of it" generate readme
has readme gns.mount "What=$what"
has readme gns.mount "Where=$where"
has readme gns.mount "Type=gnsfs"
has readme gns.mount "Options=$opts"
# A mount that is _netdev belongs to remote-fs.target, not to local-fs.target;
# systemd.mount(5): so it comes after network-online.target.
check_eq "_netdev is among the options" _netdev \
    "$(echo "$opts" | tr , '\n' | grep -x _netdev)"
has readme gns.mount "Before=remote-fs.target"
check "remote-fs.target requires it" \
    test -L "$T/readme/remote-fs.target.requires/gns.mount"
check_eq "local-fs.target does not" "" \
    "$(find "$T/readme" -path '*local-fs*' -name gns.mount)"

# --- those of mount.gnsfs(8) ---
"$GNSFS" help --man mount.gnsfs.8 | sed -n 's/\\-/-/g; /^s3:.* gnsfs /p' \
    >"$T/page.fstab"
check_eq "the page has three lines" 3 "$(wc -l <"$T/page.fstab")"
check "systemd makes units of them" generate page
check "the first: nofail, so nothing waits for it" \
    test -L "$T/page/remote-fs.target.wants/gns.mount"
check_eq "the user's: noauto, so nothing starts it" "" \
    "$(find "$T/page" -path '*.target.*' -name 'srv-ann.mount')"
check "the third: on first use" \
    test -L "$T/page/remote-fs.target.requires/lake.automount"

# --- a line with all of that, by mount(8) ---
url=$(store_url file home)
m=$T/m
format_home "$url" --name fstab
mkdir "$m"
lend_helper
cat >"$T/fstab" <<-END2
$url $m gnsfs _netdev,nofail,noatime,x-systemd.automount,state=$T/state 0 0
END2
mount --bind "$T/fstab" /etc/fstab || bail "no fstab of our own"
for how in "mount $m" "mount -a -t gnsfs" "mount -a -O _netdev"; do
	printf 'dir=%s\n' "$m" >"$(_slot "$m")"
	check "$how" $how
	check "$how mounts it" is_mounted "$m"
	check "and once more changes nothing" mount -a -t gnsfs
	check "a file" touch "$m/file"
	pid=$(_find_daemon "$m")
	check "umount DIR" umount "$m"
	check "ends the daemon" wait_for 20 test ! -d "/proc/$pid"
done
# As of any filesystem: a mount may follow its umount at once, though the
# daemon still stores what was queued.
printf 'dir=%s\n' "$m" >"$(_slot "$m")"
check "mount DIR" mount "$m"
for n in 1 2 3; do
	check "much is queued" sh -c \
	    "head -c 32M /dev/urandom >'$m/big.$n' && mkdir -p '$m/dir.$n/a/b'"
	check "umount, and mount at once" sh -c "umount '$m' && mount '$m'"
	check "it is the tree" test -d "$m/dir.$n/a/b"
done

# What the kernel enforces, as mount(8) has it.
check "a device node" mknod "$m/null" c 1 3
check_fails "does not work" sh -c "echo x >'$m/null'"
check "a program" cp /bin/true "$m/true"
check "and its bit" chmod 4755 "$m/true"
check "runs" "$m/true"
check "mount -o noexec" sh -c "umount '$m' &&
    mount -t gnsfs -o 'noexec,state=$T/state' '$url' '$m'"
check_rc 126 "the program does not run" sh -c "'$m/true'"
# mount(8) keeps these two to itself
check "mount.gnsfs -o suid,dev" sh -c "umount '$m' &&
    mount.gnsfs '$url' '$m' -o 'state=$T/state' -o suid,dev"
check "now the node works" sh -c "echo x >'$m/null'"
check_eq "the kernel says nothing else" "" "$(findmnt -no OPTIONS "$m" |
    tr , '\n' | grep -xE 'nosuid|nodev|noexec')"
pid=$(_find_daemon "$m")
check "umount DIR" umount "$m"
check "the daemon ends" wait_for 20 test ! -d "/proc/$pid"
check "nothing is mounted with -f" mount -f "$m"
check_eq "so" "" "$(is_mounted "$m" && echo mounted)"
check_fails "findmnt knows no error in it" sh -c \
    "findmnt --verify --tab-file '$T/fstab' | grep -E '\[E\]'"
rm -f "$(_slot "$m")"

# --- under systemd: the log goes to the journal by stderr ---
for ours in yes no; do
	mkdir -p "$T/log" && : >"$T/log/$ours"
	stream=$(stat -c %d:%i "$T/log/$ours")
	[ $ours = yes ] || stream=0:0
	printf 'dir=%s\n' "$m" >"$(_slot "$m")"
	(JOURNAL_STREAM=$stream && export JOURNAL_STREAM &&
	    exec "$GNSFS" mount "$url" "$m" -f -o "state=$T/state" \
	    2>"$T/log/$ours") &
	echo $! >>"$T/.spawned"
	check "gnsfs mount -f" wait_for 20 is_mounted "$m"
	stop_mount "$m"
done
check "lines for the journal have their priority" \
    grep -qE '^<6>[0-9T:.-]+Z level=info msg="mounted"' "$T/log/yes"
check_eq "all of them" "" "$(grep -v '^<[0-7]>' "$T/log/yes")"
check "others have none" grep -qE '^[0-9T:.-]+Z level=info msg="mounted"' \
    "$T/log/no"

# --- a mount of which another mount namespace has a copy, again ---
wait_for 40 test -s "$T/held.rc"
cp "$T/held.out" "$T/out"
check_eq "umount does not see its daemon end" 1 "$(cat "$T/held.rc")"
check_says "says who keeps it" "mounts of process $holder "
check "it goes on" test -d "/proc/$daemon"
kill $holder
wait $holder 2>/dev/null
has_ended()
{
	[ ! -d "/proc/$daemon" ] || grep -q '^State:.*Z' "/proc/$daemon/status"
}
check "and ends with that" wait_for 20 has_ended
rm -f "$(_slot "$T/held")"
finish
