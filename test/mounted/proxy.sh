# proxy.sh: answers that are lost after the store has committed, for every
# kind of write; refusals, resets, half bodies.  Nothing happens twice and
# nothing is lost (L2, S3, B1).
# timeout: 400

. "$(dirname "$0")/../lib.sh"
begin
start_s3
s3_bucket home
s3_bucket lake
m=$T/m
home=$S3_DIR/objects/home

: >"$T/rules"
: >"$T/faults"
spawn python3 "$TOP/test/mounted/proxy.py" "$T/port" "$S3_PORT" "$T/rules" \
    "$T/faults"
wait_for 10 test -s "$T/port" || bail "the proxy does not start"
through=http://127.0.0.1:$(cat "$T/port")
url="s3://home?endpoint=$through&region=$AWS_REGION"
lake="s3://lake?endpoint=$through&region=$AWS_REGION"

# rules LINE...: from now on.
rules()
{
	[ $# = 0 ] || printf '%s\n' "$@" >"$T/rules.new"
	[ $# != 0 ] || : >"$T/rules.new"
	mv "$T/rules.new" "$T/rules"
	: >"$T/faults"
}

# lost CLASS [N]: that many answers were thrown away, since the last rules.
lost()
{
	check_eq "the answer to $1 was lost" "${2:-1}" \
	    "$(grep -c "^drop $1 " "$T/faults")"
}

objects()
{
	find "$home/data" -type f 2>/dev/null | wc -l
}

# gains N NAME CMD...: CMD succeeds and the store has N data objects more.
gains()
{
	_n=$1
	_had=$(objects)
	shift
	check "$@"
	check_eq "  and it is stored once" "$_n" $(($(objects) - _had))
}

# Slots of the log: as many as the last one's number says.
log_is_whole()
{
	find "$home/log" -type f | sed 's|.*/||' | sort >"$T/slots"
	check_eq "no slot of the log is left out or written twice: $1" \
	    "$(wc -l <"$T/slots")" "$((0x$(tail -1 "$T/slots")))"
}

# Every object that the tree names is there, and no other.
objects_are_named()
{
	python3 - "$T/cache.m/state.db" "$home" >"$T/out" 2>&1 <<-'END'
		import os, shutil, sqlite3, sys, tempfile
		copy = tempfile.TemporaryDirectory()	# the mount has it alone
		for end in ("", "-wal"):
		    shutil.copy(sys.argv[1] + end, f"{copy.name}/db{end}")
		db = sqlite3.connect(f"{copy.name}/db")
		name = lambda o: f"{o >> 36:x}-{o & (1 << 36) - 1:x}"
		named = {name(o) for o, in db.execute(
		    """SELECT DISTINCT e.object FROM extent e JOIN location l
		    ON l.object = e.object JOIN store s ON s.id = l.store
		    WHERE s.id = 1 AND length(l.key) = 0""")}
		there = [x for _, _, f in os.walk(os.path.join(sys.argv[2],
		    "data")) for x in f]
		lost = sorted(named - set(there))
		print(len(named), "named,", len(there), "there,", lost[:5])
		sys.exit(len(lost) > 0 or not named or
		    len(there) != len(set(there)))
	END
	_rc=$?
	say "objects: $(cat "$T/out")"
	check_eq "every object that is named is there, no name twice" 0 $_rc
}

# random FILE BYTES
random()
{
	head -c "$2" /dev/urandom >"$1"
}

# --- every kind of write, its answer lost once ---
rules "drop gnsfs.json 1"
check "format" "$GNSFS" format "$url" --name proxy
lost gnsfs.json
rules
check_rc 1 "a second format is refused" "$GNSFS" format "$url"

rules "drop segment 1"
start_mount "$url" "$m" lag=50ms,debug
lost segment

mkdir "$T/src"
i=0
while [ $i -lt 200 ]; do
	i=$((i + 1))
	random "$T/src/$i" $((i * 97))
done
rules
check "a folder" mkdir "$m/d"
check "sync" "$GNSFS" sync "$m"
rules "drop data 1" "drop segment 1"
mv "$m/d" "$m/small"
cp -r "$T/src" "$m/small/src"
check "sync of small files" "$GNSFS" sync "$m"
lost data
lost segment
log_is_whole "packs"

random "$T/single" 3000000
rules "drop data 1" "drop segment 1"
cp "$T/single" "$m/single"
gains 1 "sync of a large file" "$GNSFS" sync "$m"
lost data
lost segment

random "$T/multi" 60000000
rules "drop create 1" "drop part 2" "drop complete 1" "drop segment 1"
cp "$T/multi" "$m/multi"
gains 1 "sync of a file in parts" "$GNSFS" sync "$m" --timeout 60
lost create
lost part 2
lost complete
lost segment

mkdir "$S3_DIR/objects/lake/a" "$S3_DIR/objects/lake/b"
cp "$T"/src/1* "$S3_DIR/objects/lake/a/"
cp "$T"/src/2* "$S3_DIR/objects/lake/b/"
cp "$T/single" "$S3_DIR/objects/lake/single"
rules "drop piece 1" "drop segment 1" "drop list 1"
check "import" "$GNSFS" import "$lake" "$m/lake"
lost piece
lost segment
lost list
log_is_whole "import"
sums "$S3_DIR/objects/lake" >"$T/lake.sums"
rules
sums "$m/lake" | diff "$T/lake.sums" - >"$T/diff"
check "it is what is in the bucket" sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
rules "drop segment 1"
check_rc 1 "a second import there is refused" \
    "$GNSFS" import "$lake" "$m/lake"

# Snapshots: when the log has grown by some segments, at the unmount.
i=0
rules
while [ $i -lt 24 ]; do
	i=$((i + 1))
	echo $i >"$m/step"
	quiet "$GNSFS" sync "$m" || bail "sync $i"
done
rules "drop piece 2" "drop snap 1" "drop manifest 1" "drop segment 1"
stop_mount "$m"
lost piece 2
lost snap
lost manifest
lost segment
check_eq "one snapshot" 1 "$(find "$home/snap" -type f | wc -l)"
rules
start_mount "$url" "$m" lag=50ms
check "fsck finds one digest" "$GNSFS" fsck "$m"
cat "$T/out" | sed 's/^/# /'
log_is_whole "snapshot"
check "the small files" diff -r "$T/src" "$m/small/src"
check "the large one" cmp "$T/single" "$m/single"
check "the one in parts" cmp "$T/multi" "$m/multi"
check_eq "the last step" 24 "$(cat "$m/step")"

# --- everything fails now and then ---
rules "drop data /2" "drop segment /3" "drop part /4" "drop complete /2" \
    "drop create /2" "drop get /9" "503 any /7" "reset any /11" "cut get /3"
mkdir "$m/storm"
i=0
while [ $i -lt 30 ]; do
	i=$((i + 1))
	cp "$T/src/$((i * 6))" "$m/storm/small.$i"
	if [ $((i % 6)) = 0 ]; then
		random "$T/x" $((i * 300000))
		cp "$T/x" "$m/storm/large.$i"
		sleep 0.2
	fi
	[ $((i % 10)) != 0 ] ||
	    check "sync in the storm" "$GNSFS" sync "$m" --timeout 90
done
sums "$m" >"$T/sums"
check "sync after it" "$GNSFS" sync "$m" --timeout 90
for what in drop 503 reset; do
	check "there were some: $what" grep -q "^$what " "$T/faults"
done
objects_are_named
rules
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
log_is_whole "storm"

# The same from nothing, while answers are cut.
rules "cut get /3" "drop get /5" "503 any /9" "reset any /13"
start_mount "$url" "$m" "cache=$T/fresh"
sums "$m" >"$T/sums.fresh"
check "bodies were cut" grep -q '^cut get ' "$T/faults"
rules
diff "$T/sums" "$T/sums.fresh" >"$T/diff"
check "every byte of all of it, on a fresh host" \
    sh -c "head '$T/diff'; [ ! -s '$T/diff' ]"
check_eq "files" "$(wc -l <"$T/sums")" "$(wc -l <"$T/sums.fresh")"
check "fsck finds one digest there" "$GNSFS" fsck "$m"
stop_mount "$m"
finish
