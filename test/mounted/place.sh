# place.sh: which store new bytes go to: placements of directories, with a home
# and two more stores.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m

# where PATH: the stores that have its bytes, as explain says.
where()
{
	"$GNSFS" explain "$1" --json >"$T/explain.json" || return
	json "$T/explain.json" "' '.join(sorted({x['store']
	    for x in j['extents']}))"
}

# goes PATH: the store that new bytes go to, and whose policy says so.
goes()
{
	"$GNSFS" explain "$1" --json >"$T/explain.json" || return
	json "$T/explain.json" "j['place_store'] + ' ' + j['place_dir']"
}

# placed [DIR]: policy ls, a word each.
placed()
{
	"$GNSFS" policy ls "$@" --json >"$T/ls.json" &&
	    json "$T/ls.json" "' '.join(p['dir'] + '=' + p['store']
	    for p in j if 'store' in p)"
}

home=$(store_url file home)
format_home "$home" --name place
# a long lag: what is written is packed when it is synced
start_mount "$home" "$m" lag=5s
for s in lake pond; do
	check "a store $s" "$GNSFS" store add $s "$(store_url file $s)" -n place
done
mkdir -p "$m/a/deep/er" "$m/b" "$T/bucket/x"
echo imported >"$T/bucket/x/one"
check "an import" "$GNSFS" import "file://$T/bucket" "$m/imp"
head -c 300000 /dev/urandom >"$T/large"
seq 1 2000 >"$T/small"

# --- what is refused, and why ---
check_rc 1 "a store that there is not" "$GNSFS" policy set "$m/a" store=sea
check_says "says so" "no store 'sea'"
check_rc 1 "a file" "$GNSFS" policy set "$m/imp/x/one" store=lake
check_says "says so" "is a file"
check_rc 1 "below an import" "$GNSFS" policy set "$m/imp/x" store=lake
check_says "says so" "is imported"
check_rc 1 "the import" "$GNSFS" policy set "$m/imp" store=lake
check_rc 1 "the store of an import" "$GNSFS" policy set "$m/a" store=bucket
check_says "says so" "is an import's"
mv "$T/stores/pond" "$T/stores/away"
check_rc 1 "a store that takes nothing" "$GNSFS" policy set "$m/a" store=pond
check_says "says so, and the way out" "takes no object.*--force"
check "unless it is not to be asked" "$GNSFS" policy set "$m/a" store=pond \
    --force
mv "$T/stores/away" "$T/stores/pond"
check "and rm" "$GNSFS" policy rm "$m/a"
check_rc 1 "rm where there is none" "$GNSFS" policy rm "$m/a"
check_rc 2 "no store" "$GNSFS" policy set "$m/a" store=
check_rc 2 "no policy" "$GNSFS" policy set "$m/a" color=red
check_rc 2 "no such subcommand" "$GNSFS" policy get "$m/a"

# --- bytes go where the nearest says ---
check "a" "$GNSFS" policy set "$m/a" store=lake
check "further down" "$GNSFS" policy set "$m/a/deep" store=pond
check "and back again" "$GNSFS" policy set "$m/a/deep/er" store=home
check_eq "all are listed" "/a=lake /a/deep=pond /a/deep/er=home" "$(placed -n \
    place)"
check_eq "those of a directory" "/a/deep=pond /a/deep/er=home" \
    "$(placed "$m/a/deep")"
check_eq "what holds for another" "" "$(placed "$m/b")"
for d in a a/deep a/deep/er b; do
	cp "$T/large" "$m/$d/large"
	cp "$T/small" "$m/$d/small"
done
check_eq "an unstored file says where" "lake /a" "$(goes "$m/a/small")"
check_eq "and one of the home" "home " "$(goes "$m/b/small")"
check_eq "nothing of an import" "" "$("$GNSFS" explain "$m/imp/x/one" |
    grep 'new bytes')"
check "sync" "$GNSFS" sync "$m"
for f in large small; do
	check_eq "a/$f" lake "$(where "$m/a/$f")"
	check_eq "a/deep/$f" pond "$(where "$m/a/deep/$f")"
	check_eq "a/deep/er/$f" home "$(where "$m/a/deep/er/$f")"
	check_eq "b/$f" home "$(where "$m/b/$f")"
done
check_eq "lake has both, and nothing else" 2 "$(count_objects file lake)"
check_eq "pond too" 2 "$(count_objects file pond)"
mkdir "$m/a/many"
for i in $(seq 1 40); do
	echo "$i" >"$m/a/many/$i"
done
check "sync" "$GNSFS" sync "$m"
check_eq "small files share packs" True "$([ "$(count_objects file lake)" \
    -le 4 ] && echo True)"
check_eq "  each of them there" 40 "$("$GNSFS" find store:lake \
    --in "$m/a/many" | wc -l)"

# --- what is stored stays, what is written anew goes ---
mv "$m/a/large" "$m/b/moved"
check_eq "a rename moves nothing" lake "$(where "$m/b/moved")"
printf x | dd of="$m/b/moved" conv=notrunc bs=1 seek=1000 2>"$T/out"
cp "$T/small" "$m/a/small"
mv "$m/a/small" "$m/b/renamed"
check "sync" "$GNSFS" sync "$m"
check_eq "a change of it goes where it is now" 1 \
    "$(where "$m/b/moved" | grep -c home)"
check_rc 1 "rm of a store that is named" "$GNSFS" store rm pond -n place
check_says "says what it holds" "'pond' holds 2 objects"
rm "$m/a/deep/large" "$m/a/deep/small"
check "a store that nothing is in" "$GNSFS" store add sea \
    "$(store_url file sea)" -n place
check "is named" "$GNSFS" policy set "$m/b" store=sea
check_rc 1 "rm of it" "$GNSFS" store rm sea -n place
check_says "says by whom" "below /b go to 'sea'.*policy rm"
check "rm of the policy" "$GNSFS" policy rm "$m/b" store
check "and of the store" "$GNSFS" store rm sea -n place
check "a removed directory's" rm -r "$m/a/deep"
check_eq "is listed no more" "/a=lake" "$(placed "$m/a")"

# --- on the next mount, on another host, from a snapshot ---
# what is fetched (meta/whole.h) is said beside it
filled()
{
	"$GNSFS" policy ls "$1" --json >"$T/ls.json" &&
	    json "$T/ls.json" "' '.join(p['dir'] + '=' + p['fill']
	    for p in j if 'fill' in p)"
}
check "what is fetched below a" "$GNSFS" policy set "$m/a" fill=whole
check "and below the import" "$GNSFS" policy set "$m/imp" fill=whole
check_eq "both are listed" "/a=whole /imp=whole" "$(filled "$m")"
check "which is refreshed all the same" "$GNSFS" refresh "$m/imp"
sums "$m" >"$T/sums"
check "fsck finds one digest" "$GNSFS" fsck "$m"
kill_mount "$m"
start_mount "$home" "$m" "cache=$T/cache.m,lag=50ms"
check_eq "after a crash" "/a=lake" "$(placed "$m")"
stop_mount "$m"
n=$T/n
start_mount "$home" "$n" lag=50ms
check_eq "on a fresh host" "/a=lake" "$(placed "$n")"
check_eq "both" "/a=whole /imp=whole" "$(filled "$n")"
check "every byte is read there" sh -c "cd '$n' &&
    sha256sum -c --quiet '$T/sums'"
cp "$T/large" "$n/a/new"
check "sync" "$GNSFS" sync "$n"
check_eq "and new ones go there too" lake "$(where "$n/a/new")"

stop_mount "$n"

# --- one store away: what is its own waits, the rest goes (L3) ---
# status EXPR: over j, what status says of $m.
status()
{
	"$GNSFS" status "$m" --json >"$T/status.json" &&
	    json "$T/status.json" "$1"
}

# up NAME: the store answers.
up()
{
	[ "$(status "[s['up'] for s in j['stores'] if s['name'] == '$1'][0]")" \
	    = True ]
}

# fresh DIR: the namespace as the log has it, on a host that never saw it.
fresh()
{
	rm -rf "$T/cache.${1##*/}"
	start_mount "$home" "$1" ro
}

start_mount "$home" "$m" "cache=$T/cache.m,lag=50ms"
mkdir "$m/x" "$m/y" "$m/z"
check "x" "$GNSFS" policy set "$m/x" store=lake
check "z" "$GNSFS" policy set "$m/z" store=pond
check "sync" "$GNSFS" sync "$m"
mv "$T/stores/lake" "$T/stores/away"
for d in x y z; do
	cp "$T/large" "$m/$d/large"
	cp "$T/small" "$m/$d/small"
	ln -s large "$m/$d/latest"
done
echo here >"$m/top"
check "sync of y" "$GNSFS" sync "$m/y" --timeout 20s
check "and of z" "$GNSFS" sync "$m/z" --timeout 20s
check_rc 1 "not of x" "$GNSFS" sync "$m/x" --timeout 1s
check_says "says which store, and why" "store lake: .*no directory"
check_rc 1 "nor of all" "$GNSFS" sync "$m" --timeout 1s
check_eq "status counts what is held" True "$(status \
    "j['pending']['held'] == j['pending']['ops'] > 2")"
check_eq "and what waits for whom" "[('lake', 2, True)]" "$(status \
    "[(s['name'], s['waiting_files'], s['waiting_bytes'] > 300000)
    for s in j['stores'] if s['waiting_files']]")"
check "stage of what does not wait" "$GNSFS" stage "$m/y" --to pond
fresh "$n"
for d in y z; do
	check "a fresh host has $d" diff -r "$m/$d" "$n/$d"
done
check "and the root" cmp "$m/top" "$n/top"
check_fails "nothing of x before its bytes" ls "$n/x/latest"
check_fails "  or with others" test -s "$n/x/large"
stop_mount "$n"
check "here, all of it" diff -r "$m/y" "$m/x"

# --- a crash in between ---
kill_mount "$m"
start_mount "$home" "$m" "cache=$T/cache.m,lag=50ms"
check "all of it is here again" diff -r "$m/y" "$m/x"
echo more >"$m/y/more"
check "and the others go on" "$GNSFS" sync "$m/y" --timeout 20s
check "fsck finds one digest" "$GNSFS" fsck "$m"
mkdir "$m/x/sub"
echo sub >"$m/x/sub/file"
mv "$T/stores/away" "$T/stores/lake"
kill_mount "$m"
start_mount "$home" "$m" "cache=$T/cache.m,lag=50ms"
check "back: all is stored" "$GNSFS" sync "$m" --timeout 60s
check_eq "  there" "lake lake" "$(where "$m/x/large") $(where "$m/x/small")"
check_eq "  and nothing is held" 0 "$(status "j['pending']['held']")"

# --- the way out where it does not come back ---
rm -r "$m/x/sub"
check "sync" "$GNSFS" sync "$m"
mv "$T/stores/lake" "$T/stores/away"
cp "$T/large" "$m/x/again"
echo small >"$m/x/tiny"
check_rc 1 "it waits" "$GNSFS" sync "$m/x" --timeout 1s
check "another store" "$GNSFS" policy set "$m/x" store=pond
check "takes it" "$GNSFS" sync "$m" --timeout 20s
check_eq "  both" "pond pond" "$(where "$m/x/again") $(where "$m/x/tiny")"
mv "$T/stores/away" "$T/stores/lake"
check "lake is up" wait_for 20 up lake
sums "$m" >"$T/sums"
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
fresh "$n"
check "a fresh host has every byte" sh -c "cd '$n' &&
    sha256sum -c --quiet '$T/sums'"
stop_mount "$n"
finish
