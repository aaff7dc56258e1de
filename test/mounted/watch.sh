# watch.sh: `gnsfs status --watch`, on a terminal and off one.
# timeout: 120

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m
format_home "$url" --name watched
start_mount "$url" "$m" lag=200ms
watch=$TOP/test/mounted/watch.py
head -c 3000000 /dev/urandom >"$m/large"
"$GNSFS" pin "$m/large" --wait >/dev/null 2>&1
esc=$(printf '\033[31m')
"$GNSFS" pin --name "red${esc}pin" 'name:l*' -n "$m" --wait >/dev/null 2>&1
"$GNSFS" pin --name "$(printf '\346\274\242%.0s' 1 2 3 4 5 6 7 8 9 10 11 12)" \
    'name:l*' -n "$m" --wait >/dev/null 2>&1
check_eq "three pins" 3 "$("$GNSFS" pins "$m" --json | grep -c '"name"')"

# --- a terminal ---
check "a screen of 80 x 24" python3 "$watch" "$GNSFS" "$m" 80x24 q
check_says "the namespace and the mount" "^gnsfs +watched .* q: quit"
check_says "the state" "^state +writable, "
check_says "what is waiting" "^waiting +nothing: all is stored"
check_says "the cache" "^cache +\[#+\.*\] .* of .* 0 B not stored"
check_says "uploads" "^uploads +0 under way, 0 waiting"
check_says "rates" "^reads +[0-9]+ requests/s"
check_says "its store" "^  home +up +file://"
check_says "a pin" "^  /large +\[####################\] 2.9 MiB of 2.9 MiB"
check_says "no colour that a name brings" "^  red\?\[31mpin "
check "ended by INT" python3 "$watch" "$GNSFS" "$m" 80x24 INT
check "ended by TERM" python3 "$watch" "$GNSFS" "$m" 80x24 TERM
check "a terminal that shrinks" \
    python3 "$watch" "$GNSFS" "$m" 80x24 q 33x9
check_says "and is used in full" "^uploads "
check "one that is tiny" python3 "$watch" "$GNSFS" "$m" 20x3 q 1x1
check "one that is large" python3 "$watch" "$GNSFS" "$m" 300x100 q

# --- more than fits, and a store that is away ---
n=0
while [ $n -lt 20 ]; do
	n=$((n + 1))
	"$GNSFS" pin --name "pin$n" "name:none$n" -n "$m" >/dev/null 2>&1
done
mv "$T/stores/home" "$T/stores/away"
echo waits >"$m/waits"
is_down()
{
	"$GNSFS" status "$m" --json >"$T/status" &&
	    [ "$(json "$T/status" "j['stores'][0]['up']")" = False ]
}
check "the store is found to be away" wait_for 40 is_down
check "a screen of 80 x 24 of it" python3 "$watch" "$GNSFS" "$m" 80x24 q
check_says "the store is down" "^  home +DOWN +for [0-9.]+ "
check_says "what waits" "^waiting +[1-9][0-9]* changes, .* old"
check_says "a row for those that have none" "^  and [0-9]+ more"
check_eq "all rows are used" 24 "$(wc -l <"$T/out")"
mv "$T/stores/away" "$T/stores/home"

# --- no terminal ---
timeout 3 "$GNSFS" status "$m" --watch --interval 500ms >"$T/blocks" 2>&1
check_eq "it goes on until it is ended" 124 $?
check "blocks of lines" test "$(grep -c '^gnsfs  *watched ' "$T/blocks")" -ge 3
check "with a line between them" grep -qx '' "$T/blocks"
check "and rates from the second on" grep -q '^reads ' "$T/blocks"
check_eq "no escape sequence" 0 "$(grep -c "$(printf '\033')" "$T/blocks")"
timeout 3 "$GNSFS" status "$m" --watch --json >"$T/blocks" 2>&1
check "JSON" python3 -c 'import json, sys
d, s, n = json.JSONDecoder(), open(sys.argv[1]).read().lstrip(), 0
while s:
    j, end = d.raw_decode(s)
    assert j["name"] == "watched"
    s, n = s[end:].lstrip(), n + 1
assert n >= 2' "$T/blocks"
check_rc 2 "no interval" "$GNSFS" status --watch --interval never
check_rc 2 "one too short" "$GNSFS" status --watch --interval 1ms
stop_mount "$m"
finish
