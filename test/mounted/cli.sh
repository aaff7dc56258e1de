# cli.sh: the command's habits: help, manual pages, completion in bash and zsh,
# the keys of --json, the progress line.
# timeout: 180

. "$(dirname "$0")/../lib.sh"
begin
py=$TOP/test/mounted/cli.py
m=$T/m
J=$T/json
mkdir "$J" "$T/help"

# --- help, and the manual made from the same table ---
"$GNSFS" help | sed -nE 's/^  ([a-z]+) .*/\1/p' >"$T/commands"
check "there are commands" test "$(wc -l <"$T/commands")" -ge 18
while read -r c; do
	"$GNSFS" help "$c" >"$T/help/$c"
	"$GNSFS" "$c" --help >"$T/help2" 2>&1
	cmp -s "$T/help/$c" "$T/help2" || fail "gnsfs $c --help is its help"
	head -1 "$T/help/$c" | grep -q "^usage: gnsfs $c" ||
	    fail "gnsfs help $c says how it is used"
	awk 'length > 80 { exit 1 }' "$T/help/$c" ||
	    fail "gnsfs help $c fits 80 columns"
	"$GNSFS" help --man "gnsfs-$c.1" >"$T/page" ||
	    fail "gnsfs-$c(1) can be made"
done <"$T/commands"
ok "each has its help and its page"
check_rc 2 "no subcommand is misuse" "$GNSFS"
check_rc 2 "one that there is not" "$GNSFS" frobnicate
check_rc 2 "help of that" "$GNSFS" help frobnicate
check_rc 2 "an option that there is not" "$GNSFS" status --frobnicate
check_rc 2 "a shell that we do not know" "$GNSFS" help --completion csh
for page in "$TOP"/man/*; do
	groff -t -man -ww -Tutf8 "$page" 2>&1 >/dev/null | head -3 \
	    >"$T/warnings"
	check_eq "$(basename "$page") is good roff" "" "$(cat "$T/warnings")"
done

# --- make install ---
check "make install" make -s -C "$TOP" -o "$GNSFS" \
    B="$(dirname "$GNSFS")" DESTDIR="$T/inst" install
for file in bin/gnsfs share/man/man1/gnsfs.1 share/man/man1/gnsfs-pin.1 \
    share/man/man1/gnsfs-unpin.1 share/man/man5/gnsfs.5 \
    share/man/man8/mount.gnsfs.8 share/bash-completion/completions/gnsfs \
    share/zsh/vendor-completions/_gnsfs; do
	check "it brings $file" test -s "$T/inst/usr/$file"
done
for helper in mount.gnsfs mount.fuse.gnsfs; do
	check_eq "it brings $helper" /usr/bin/gnsfs \
	    "$(readlink "$T/inst/sbin/$helper")"
done
cd "$T/inst/usr/share/man" || exit 1
check "a command's page is that of its kind" \
    groff -s -man -Tascii -P-cbu man1/gnsfs-unpin.1
check_says "with what it shares it with" "^ +gnsfs evict SELECTOR"

# --- completion ---
comp=$T/inst/usr/share/bash-completion/completions/gnsfs
bash_words()
{
	bash --norc -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1))
	_gnsfs; echo ${COMPREPLY[@]}' - "$comp" "$@"
}
cd "$T" || exit 1
check "bash parses it" bash -n "$comp"
check_eq "bash: a command" "unpin" "$(bash_words gnsfs unp)"
check_eq "bash: an option" "--everywhere" "$(bash_words gnsfs pin --ev)"
check_eq "bash: one of every command" "--json" \
    "$(bash_words gnsfs find x --js)"
check_eq "bash: a word" "add" "$(bash_words gnsfs store a)"
check_eq "bash: a file" "commands" "$(bash_words gnsfs pin comm)"
check_eq "bash: a command to be explained" "status" \
    "$(bash_words gnsfs help stat)"
zdir=$T/inst/usr/share/zsh/vendor-completions
check "zsh parses it" zsh -n "$zdir/_gnsfs"
check "zsh completes" python3 "$py" zsh "$zdir" "gnsfs unp" \
    "gnsfs pin --ev" "gnsfs store " "gnsfs mount -o lag=1s,passt"
check_says "zsh: a command" "gnsfs unpin "
check_says "zsh: an option" "gnsfs pin --everywhere "
check_says "zsh: words" "add +check +ls +rm +set"
check_says "zsh: a mount option" "lag=1s,passthrough="

# --- the keys of --json ---
home=$(store_url file home)
lake=$(store_url file lake)
mkdir -p "$T/stores/lake/a" "$T/stores/lake/~gns-x"
echo 1 >"$T/stores/lake/a/b"
echo 2 >"$T/stores/lake/~gns-x/c"
odd=$(printf 'n\377')
echo 3 >"$T/stores/lake/$odd"
echo 3 >"$T/stores/lake/~gns-$odd"
"$GNSFS" format "$home" --name cli --json >"$J/format"
mkdir "$m"
# A store that takes its time to copy: status sees it.
GNSFS_FAULT=op=pull,delay=4000 \
"$GNSFS" mount "$home" "$m" -o "cache=$T/cache,lag=100ms" --json >"$J/mount"
mkdir -p "$T/.mounts"
printf 'dir=%s\ncache=%s\npid=%s\n' "$m" "$T/cache" "$(_find_daemon "$m")" \
    >"$(_slot "$m")"
"$GNSFS" import "$lake" "$m/lake" --report --json >"$J/import"
"$GNSFS" refresh "$m/lake" --json >"$J/refresh"
"$GNSFS" imports "$m" --json >"$J/imports"
head -c 3000000 /dev/urandom >"$m/large"
echo small >"$m/small"
"$GNSFS" tag add "$m/large" kind=test --json >"$J/tag.1"
"$GNSFS" sync "$m" --json >"$J/sync"
"$GNSFS" pin "$m/large" --json --wait >"$J/pin"
"$GNSFS" unpin --name /nothing --json >"$J/none" 2>&1
check_rc 1 "a pin that there is not" "$GNSFS" unpin --name /nothing
"$GNSFS" pins "$m" --json >"$J/pins"
"$GNSFS" warm "$m/lake" --json >"$J/warm"
"$GNSFS" evict "$m/lake" --json >"$J/evict"
"$GNSFS" find --all --json -n "$m" >"$J/find"
"$GNSFS" tag ls "$m/large" --json >"$J/tag"
mkdir "$T/second"
"$GNSFS" store add second "file://$T/second" -n "$m" >/dev/null
mkdir "$m/placed"
"$GNSFS" policy set "$m/placed" store=second --json >"$J/policy.1"
"$GNSFS" policy set "$m/placed" fill=wanted
"$GNSFS" policy ls "$m" --json >"$J/policy"
spawn "$GNSFS" stage "$m/large" --to second --json >"$J/stage"
stage=$!
staging()
{
	"$GNSFS" status "$m" --json >"$T/staging" &&
	    [ "$(json "$T/staging" 'len(j["stages"])')" = 1 ]
}
wait_for 20 staging
"$GNSFS" status --json >"$J/status.1"
"$GNSFS" status "$m" --json >"$J/status"
wait $stage
"$GNSFS" explain "$m/large" --json >"$J/explain"
"$GNSFS" explain "$m/lake" --json >"$J/explain.1"
"$GNSFS" fsck "$m" --json >"$J/fsck"
"$GNSFS" store ls -n "$m" --json >"$J/store"
"$GNSFS" store check home -n "$m" --json >"$J/store.1"
mv "$T/stores/home" "$T/stores/away"
echo left >"$m/left"
"$GNSFS" umount "$m" --timeout 1s --json >"$J/umount" 2>/dev/null
rm -f "$(_slot "$m")"
"$GNSFS" rescue "$T/cache" "$T/rescued" --json >"$J/rescue"
mv "$T/stores/away" "$T/stores/home"
python3 "$py" keys "$T/help" "$J" \
    $(grep -vxE 'help|unpin' "$T/commands") >"$T/keys" || fail "keys"
while IFS='|' read -r c unknown unseen; do
	check_eq "gnsfs $c --json: keys are documented" "" "$unknown"
	case $c in
	# Of what is no UTF-8, and has a path that is.
	explain) want='extents[].key_hex fill_dir_hex place_dir_hex' ;;
	policy)	want='[].dir_hex' ;;
	imports) want='[].path_hex [].url_hex' ;;
	status)	want='imports[].path_hex imports[].url_hex' ;;
	# No snapshot yet.
	fsck)	want="snapshot snapshot.digest snapshot.from snapshot.same" ;;
	*)	want= ;;
	esac
	check_eq "gnsfs $c --json: those documented are there" "$want" \
	    "$unseen"
done <"$T/keys"

# --- daemons that do not answer ---
# ended PID: gone, but for who is to collect it.
ended()
{
	[ ! -d "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"
}
# "silent" has taken a request and says nothing to it, "deaf" takes none.
# (What is said to the first takes half a minute.)
names="silent deaf"
[ -z "${GNSFS_TEST_SHORT:-}" ] || names=deaf
for name in $names; do
	format_home "$(store_url file "$name")" --name "$name"
	start_mount "$(store_url file "$name")" "$T/$name"
	echo kept >"$T/$name/file"
	eval "$name=$(mount_pid "$T/$name")"
	kill -STOP "$(mount_pid "$T/$name")"
done
[ "$names" = deaf ] ||
    spawn sh -c "timeout 90 '$GNSFS' umount --force --timeout 2s '$T/silent' \
    >'$T/silent.out' 2>&1; echo \$? >'$T/silent.rc'"

# --- the progress line ---
start_mount "$home" "$m" "cache=$T/cache2,takeover"
stop_mount "$m"
export GNSFS_FAULT="op=get,key=data/,delay=1500"
start_mount "$home" "$m" "cache=$T/cache3"
unset GNSFS_FAULT

# --- what is no UTF-8 cannot be asked for, and is not left out silently ---
"$GNSFS" tag ls "$m/large" >"$T/tags"
while read -r args; do
	eval "check_rc 2 'bytes: $args' '$GNSFS' $args"
	check_says "are said to be that" "is not UTF-8"
done <<'END'
explain "$m/$odd"
tag ls "$m/$odd"
tag add "$m/large" "k=$odd"
tag rm "$m/large" "kind=$odd"
tag add "$m/large" "$odd=v"
refresh "$m/$odd"
sync "$m/$odd"
import "$lake" "$m/$odd"
policy set "$m" "store=$odd"
policy ls "$m/$odd"
pin "$m/$odd"
pin "$m/large" --name "$odd"
unpin --name "$odd" -n "$m"
find "name:*.x" --in "$m/$odd"
stage "$m/large" --to "$odd"
store rm "$odd" -n "$m"
store set second --rename "$odd" -n "$m"
store set second "profile=$odd" -n "$m"
END
check "nothing was tagged" sh -c "'$GNSFS' tag ls '$m/large' |
    cmp - '$T/tags'"
"$GNSFS" pins "$m" --json >"$T/pins"
check_eq "nor pinned" "['/large']" "$(json "$T/pins" '[p["name"] for p in j]')"

# --- the progress line, on a terminal and in a pipe ---
check "a pin on a terminal" python3 "$py" tty "$GNSFS" pin "$m/large" --wait
check_says "shows a line of progress" "^.x1b\[K[0-9.]+ [KM]?i?B of 2.9 MiB "
check_says "and wipes it at its end" "^.x1b\[K.*1 files, 2.9 MiB: all here"
"$GNSFS" unpin --name /large -n "$m" >/dev/null
"$GNSFS" evict "$m/large" >/dev/null
check "a pin in a pipe" sh -c "'$GNSFS' pin '$m/large' --wait 2>&1 | cat"
check_eq "says its result alone" "1 files, 2.9 MiB: all here, checked" \
    "$(cat "$T/out")"

# --- daemons that do not answer, again: others are not kept waiting ---
began=$(now_ms)
i=0
while [ $i -lt 70 ]; do
	"$GNSFS" status "$m" >"$T/out" 2>&1 || fail "status beside one"
	i=$((i + 1))
done
check "70 times status beside one ($(($(now_ms) - began)) ms)" \
    test $(($(now_ms) - began)) -lt 40000
check "another mount begins and ends beside it" sh -c "
    mkdir '$T/beside' &&
    '$GNSFS' mount '$home' '$T/beside' -o 'ro,cache=$T/cache4' &&
    '$GNSFS' umount '$T/beside'"
spawn sh -c "timeout 30 '$GNSFS' status '$T/deaf' >'$T/deaf.status' 2>&1
    echo \$? >'$T/deaf.rc'"
check_rc 1 "umount of one that takes no request" timeout 30 "$GNSFS" umount \
    "$T/deaf"
check_says "says how" "has taken no request.*umount --force"
check "  it is there" is_mounted "$T/deaf"
wait_for 30 test -s "$T/deaf.rc"
cp "$T/deaf.status" "$T/out"
check_eq "status of it" 1 "$(cat "$T/deaf.rc")"
check_says "says so" "silent"
check_says "  and why" "has taken no request"
check_rc 1 "umount --force ends it" timeout 60 "$GNSFS" umount --force \
    --timeout 2s "$T/deaf"
check_says "says what it does not know" "has taken no request.*is kept"
check_fails "  it is unmounted" is_mounted "$T/deaf"
check "  and gone" ended "$deaf"
stop_mount "$m"
if [ "$names" != deaf ]; then
	wait_for 90 test -s "$T/silent.rc"
	cp "$T/silent.out" "$T/out"
	check_eq "umount --force of one that says nothing" 1 \
	    "$(cat "$T/silent.rc")"
	check_says "says so" "has said nothing for 32 s.*is kept"
	check_fails "  it is unmounted" is_mounted "$T/silent"
	check "  and gone" ended "$silent"
fi
for name in $names; do
	rm -f "$(_slot "$T/$name")"
	start_mount "$(store_url file "$name")" "$T/$name"
	check_eq "$name: nothing was lost" kept "$(cat "$T/$name/file")"
	stop_mount "$T/$name"
done
finish
