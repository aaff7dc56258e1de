# fill.sh: how often a store is asked for what is not here (fs/fill.h,
# fs/flight.h, fs/window.h), by the trace of its requests: readers of the same
# bytes at once, while the store does not answer (test/mounted/proxy.py), and
# neighbours that are fetched ahead.
# timeout: 200

. "$(dirname "$0")/../lib.sh"
begin
m=$T/m
start_s3
s3_bucket home
s3_bucket lake
lake=$S3_DIR/objects/lake
mkdir "$lake/near"
head -c 1024 /dev/urandom >"$lake/kib"
head -c 1048576 /dev/urandom >"$lake/mib"
for i in $(seq 100 163); do
	echo "file $i" >"$lake/near/$i"
done
head -c 134217728 /dev/urandom >"$lake/model"
truncate -s 256M "$lake/db"
mkdir "$lake/whole"
cp "$lake/model" "$lake/whole/in"

: >"$T/rules"
: >"$T/faults"
spawn python3 "$TOP/test/mounted/proxy.py" "$T/port" "$S3_PORT" "$T/rules" \
    "$T/faults"
wait_for 10 test -s "$T/port" || bail "the proxy does not start"
through="endpoint=http://127.0.0.1:$(cat "$T/port")&region=$AWS_REGION"

# rules [LINE...]: of the proxy, from now on.
rules()
{
	[ $# = 0 ] || printf '%s\n' "$@" >"$T/rules.new"
	[ $# != 0 ] || : >"$T/rules.new"
	: >"$T/faults"
	mv "$T/rules.new" "$T/rules"
}

# gets KEY: how often it was asked for since the trace was emptied.
gets()
{
	grep -c " op=get key=$1 " "$T/trace"
}

# counter NAME
counter()
{
	"$GNSFS" status --json "$m" >"$T/status" &&
	    json "$T/status" "j['counters']['$1']"
}

# has_asked N: that many requests of the kernel since $asked.
has_asked()
{
	[ $(($(counter fuse_requests) - asked)) -ge "$1" ]
}

format_home "$(s3_url home)"
export GNSFS_TRACE="$T/trace"
start_mount "$(s3_url home)" "$m"
check "import" "$GNSFS" import "s3://lake?$through" "$m/lake"
ls -lR "$m/lake" >"$T/out"

# --- the same bytes, at once ---
for name in kib mib; do
	: >"$T/trace"
	asked=$(counter fuse_requests)
	rules "hold get 1000"
	python3 "$TOP/test/mounted/fill.py" together "$m/lake/$name" \
	    "$lake/$name" >"$T/together" 2>&1 &
	pid=$!
	# an open and a read each
	wait_for 20 has_asked 32 || say "not all have asked"
	sleep 0.5
	n=$(grep -c '^hold get ' "$T/faults")
	rules
	wait $pid
	check_eq "16 readers of one $name: what they read is right" 0 $?
	check_eq "  and while all waited there was one GET" 1 "$n"
	check_eq "  in all one" 1 "$(gets "$name")"
done

# A file that is fetched ahead is waited for: each once, by whoever; those that
# a reader had before are left out of what is fetched around them.
: >"$T/trace"
had=$(counter fill_bytes)
check "64 files of one folder, by 16 readers" sh -c \
    "ls '$m'/lake/near/* | xargs -P 16 -n 1 cat | sort >'$T/near' &&
    cat '$lake'/near/* | cmp - '$T/near'"
check_eq "  not a byte of them came twice" \
    "$(cat "$lake"/near/* | wc -c)" $(($(counter fill_bytes) - had))
sed -n 's/.* op=get key=\(near\/[0-9]*\) .*/\1/p' "$T/trace" | sort |
    uniq -d >"$T/twice"
check_eq "  and none was asked for twice" "" "$(cat "$T/twice")"

# --- all of a file ---
# Mapped, and touched in no order: all of it comes, eight chunks at a time, not
# what each piece touches (fs/window.h).
: >"$T/trace"
check "128 MiB are mapped and read in no order" python3 \
    "$TOP/test/mounted/fill.py" shuffled "$m/lake/model" "$lake/model"
n=$(gets model)
check "  by far fewer GETs than there are pieces: $n of 128" [ "$n" -le 48 ]
check_eq "  and it was fetched whole" 1 "$(counter fills_whole)"
check "evicted" "$GNSFS" evict "$m/lake/model"

# Here and there a page: what is asked for, and no more.
had=$(counter fill_bytes)
check "20 pages of 256 MiB" python3 "$TOP/test/mounted/fill.py" scattered \
    "$m/lake/db" "$lake/db"
sleep 1
n=$((($(counter fill_bytes) - had) >> 20))
check "  fetch a chunk each: $n MiB" [ "$n" -le 24 ]
check_eq "  and it was not fetched whole" 1 "$(counter fills_whole)"

# Whole, because a policy says so, whoever reads how much of it.
is_here()
{
	[ "$(getfattr --only-values -n user.gnsfs.cached "$1")" = 100 ]
}
check_rc 1 "a file has no policy" "$GNSFS" policy set "$m/lake/db" fill=whole
check_says "says so" "is a file"
check_rc 2 "there is no such fill" "$GNSFS" policy set "$m/lake" fill=half
check "fill=whole" "$GNSFS" policy set "$m/lake/whole" fill=whole
check "ls has it" "$GNSFS" policy ls "$m/lake"
check_says "  so" "^fill=whole  $m/lake/whole\$"
check "explain has it" "$GNSFS" explain "$m/lake/whole/in"
check_says "  so" "fetched whole.*policy of /lake/whole"
: >"$T/trace"
check "a byte is read" cmp -n 1 "$m/lake/whole/in" "$lake/whole/in"
check "  and all is fetched" wait_for 20 is_here "$m/lake/whole/in"
n=$(gets whole/in)
check "  by few GETs: $n" [ "$n" -le 20 ]
check "  and right" cmp "$m/lake/whole/in" "$lake/whole/in"
check "evicted" "$GNSFS" evict "$m/lake/whole/in"
check "rm fill" "$GNSFS" policy rm "$m/lake/whole" fill
check_rc 1 "  once" "$GNSFS" policy rm "$m/lake/whole" fill
n=$(counter fills_whole)
check "a byte is read" cmp -n 1 "$m/lake/whole/in" "$lake/whole/in"
check_eq "  and not all of it" "$n" "$(counter fills_whole)"

stop_mount "$m"
finish
