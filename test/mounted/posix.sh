# posix.sh: what Linux promises of names, times and links, where pjdfstest does
# not ask: test/mounted/posix.py, each test on a mount; then what is left of
# them after another mount of it.

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m
format_home "$url"
start_mount "$url" "$m" lag=200ms
chmod 755 "$T"
for test in exchange renames names symlinks times touch told special opens \
    setgid sticky unlinked removed holes direct listing; do
	check "$test" timeout 60 python3 "$TOP/test/mounted/posix.py" $test "$m"
done

# Names, types, modes, owners, links, times and sizes below a folder.
names()
{
	(cd "$1" && find . -printf '%P|%y|%m|%U|%G|%n|%T@|%C@|%A@|%l|' \
	    \( -type d -printf '\n' -o -printf '%s\n' \) | LC_ALL=C sort)
}

names "$m" >"$T/before"
sums "$m" >"$T/sums"
stop_mount "$m"
start_mount "$url" "$T/again" "cache=$T/cache.again"
names "$T/again" >"$T/after"
check "another mount shows the same names" diff "$T/before" "$T/after"
sums "$T/again" >"$T/sums.again"
check "and the same bytes" diff "$T/sums" "$T/sums.again"
stop_mount "$T/again"
finish
