# use.sh: programs as they are, on the mount: git, make, sqlite3, tar, rsync,
# cp -a, and what use.py does with mappings, locks and holes.
# timeout: 500

. "$(dirname "$0")/../lib.sh"
begin
KIND=${KIND:-file}
[ "$KIND" != s3 ] || start_s3
url=$(store_url "$KIND" home)
m=$T/m
format_home "$url" --name use
start_mount "$url" "$m" lag=200ms
cd "$T" || exit 1
export HOME="$T" GIT_CONFIG_NOSYSTEM=1

# --- what programs ask of files ---
mkdir "$m/py"
for test in mmap mmap_closed flock lockf append unlinked replaced holes \
    vectors listing executed; do
	check "$test" timeout 100 python3 "$TOP/test/mounted/use.py" $test \
	    "$m/py"
done

# --- git ---
python3 - >"$T/import" <<'END'
import random
rnd = random.Random(3)
out = []
for c in range(300):
    msg = f"commit {c}"
    out.append(f"commit refs/heads/main\n"
        f"committer A <a@b.c> {1700000000 + c * 60} +0000\n"
        f"data {len(msg)}\n{msg}")
    for _ in range(rnd.randrange(1, 6)):
        name = f"d{rnd.randrange(12)}/s{rnd.randrange(6)}/f{rnd.randrange(9)}"
        text = "".join(f"line {rnd.randrange(10**9)}\n"
            for _ in range(rnd.choice((1, 20, 300, 4000))))
        out.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}")
print("\n".join(out))
END
git init -q -b main "$T/origin"
git -C "$T/origin" fast-import --quiet <"$T/import"
git -C "$T/origin" reset -q --hard
check "git clone" git clone -q --no-local "$T/origin" "$m/clone"
check "git fsck" git -C "$m/clone" fsck --full --strict
check_eq "git status is clean" "" "$(git -C "$m/clone" status --porcelain)"
check_eq "the files of the last commit" \
    "$(git -C "$T/origin" ls-files | wc -l)" \
    "$(git -C "$m/clone" ls-files | wc -l)"
check "they are the same" diff -r -x .git "$T/origin" "$m/clone"
echo more >"$m/clone/more"
git -C "$m/clone" config user.email a@b.c
git -C "$m/clone" config user.name A
check "git add and commit" sh -c "git -C '$m/clone' add more &&
    git -C '$m/clone' commit -qm more"
check "git checkout of an old commit" git -C "$m/clone" checkout -q main~150
check "and back" git -C "$m/clone" checkout -q main
check "git gc" git -C "$m/clone" gc -q --prune=now
check "git fsck after it" git -C "$m/clone" fsck --full --strict
check "git clone from the mount" git clone -q --no-local "$m/clone" "$T/back"
check "git fsck of that" git -C "$T/back" fsck --full --strict

# --- a C project ---
mkdir "$m/c"
cd "$m/c" || exit 1
i=0
while [ $i -lt 20 ]; do
	printf '#include "all.h"\nint f%d(int x) { return x + %d; }\n' $i $i \
	    >"f$i.c"
	echo "int f$i(int);" >>all.h
	echo "	s += f$i(1);" >>calls
	i=$((i + 1))
done
{
	printf '#include <stdio.h>\n#include "all.h"\nint main(void)\n{\n'
	printf '	int s = 0;\n'
	cat calls
	printf '	printf("%%d\\n", s);\n	return 0;\n}\n'
} >main.c
cat >Makefile <<'END'
OBJ = $(patsubst %.c,%.o,$(wildcard *.c))
prog: lib.a
	cc -o $@ main.o lib.a
lib.a: $(OBJ)
	ar rcs $@ $(filter-out main.o,$(OBJ))
%.o: %.c all.h
	cc -g -O1 -c -o $@ $<
END
check "make" make -s -j4
check_eq "the program runs" 210 "$(./prog)"
check "make has nothing to do" make -q prog
sleep 0.02
touch f7.c
check_fails "but after a touch" make -q prog
check "which it does" make -s
cd "$T" || exit 1

# --- sqlite3 ---
mkdir "$m/sql"
for journal in delete wal; do
	db=$m/sql/$journal.db
	python3 - >"$T/sql" <<-END
		import random
		rnd = random.Random(5)
		print("PRAGMA journal_mode=$journal;")
		print("PRAGMA synchronous=FULL;")
		print("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB, h TEXT);")
		print("CREATE INDEX th ON t(h);")
		for i in range(150):
		    print("BEGIN;")
		    for _ in range(rnd.randrange(1, 30)):
		        print(f"INSERT OR REPLACE INTO t VALUES ("
		            f"{rnd.randrange(800)}, randomblob("
		            f"{rnd.randrange(3000)}), hex(randomblob(8)));")
		    if i % 10 == 3:
		        print(f"DELETE FROM t WHERE k % 7 = {i % 7};")
		    print("ROLLBACK;" if i % 13 == 5 else "COMMIT;")
		print("VACUUM;")
	END
	check "sqlite3, journal_mode=$journal" sqlite3 -bail "$db" \
	    ".read $T/sql"
	check_eq "integrity_check" ok \
	    "$(sqlite3 "$db" 'PRAGMA integrity_check')"
	cp "$db" "$T/$journal.db"
	check_eq "and of a copy elsewhere" ok \
	    "$(sqlite3 "$T/$journal.db" 'PRAGMA integrity_check')"
	sqlite3 "$db" 'SELECT k, hex(v), h FROM t ORDER BY k' | sha256sum \
	    >"$T/$journal.sum"
done

# --- there and back ---
mkdir -p "$T/tree/deep/er"
cp -r "$T/origin/." "$T/tree/repo"
ln -s ../tree/repo "$T/tree/link"
ln -s /nowhere "$T/tree/dangling"
ln "$T/tree/repo/.git/HEAD" "$T/tree/deep/hard"
mkfifo "$T/tree/deep/fifo"
head -c 7000000 /dev/urandom >"$T/tree/deep/er/large"
truncate -s 3M "$T/tree/deep/sparse"
: >"$T/tree/empty"
setfattr -n user.a -v b "$T/tree/empty" 2>/dev/null
chmod 6755 "$T/tree/deep/er/large"
chown -h 1001:1002 "$T/tree/dangling" "$T/tree/empty"
touch -d '1999-12-31 23:59:59.123456789 UTC' "$T/tree/deep/er" \
    "$T/tree/empty"

# describe DIR: all that is to survive, but for what lstat cannot say twice.
describe()
{
	(cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %n %T@ %l ' \
	    \( -type f -printf '%s\n' -o -printf '\n' \) | LC_ALL=C sort)
}

describe "$T/tree" >"$T/tree.names"
sums "$T/tree" >"$T/tree.sums"

# same DIR HOW
same()
{
	describe "$1" | diff "$T/tree.names" - >"$T/diff"
	check "names, owners, times: $2" \
	    sh -c "head -20 '$T/diff'; [ ! -s '$T/diff' ]"
	sums "$1" | diff "$T/tree.sums" - >"$T/diff"
	check "bytes: $2" sh -c "head -20 '$T/diff'; [ ! -s '$T/diff' ]"
}

check "cp -a there" cp -a "$T/tree" "$m/cp"
same "$m/cp" "cp -a there"
check "cp -a on it" cp -a "$m/cp" "$m/cp2"
same "$m/cp2" "cp -a on it"
check "cp -a back" cp -a "$m/cp2" "$T/cp.back"
same "$T/cp.back" "cp -a back"
check "tar there" sh -c "tar -C '$T/tree' --format=pax -cf - . |
    { mkdir '$m/tar' && tar -C '$m/tar' -xpf -; }"
same "$m/tar" "tar there"
check "tar back" sh -c "tar -C '$m/tar' --format=pax -cf '$m/t.tar' . &&
    mkdir '$T/tar.back' && tar -C '$T/tar.back' -xpf '$m/t.tar'"
same "$T/tar.back" "tar back"
check "rsync there" rsync -aH "$T/tree/" "$m/rsync/"
same "$m/rsync" "rsync there"
check_eq "rsync finds nothing more to do" "" \
    "$(rsync -aHi "$T/tree/" "$m/rsync/")"
check_eq "nor by checksums" "" "$(rsync -aHic "$T/tree/" "$m/rsync/")"
check "rsync back" rsync -aH "$m/rsync/" "$T/rsync.back/"
same "$T/rsync.back" "rsync back"
check "rm -rf" rm -rf "$m/cp2" "$m/tar"
check_fails "is gone" ls "$m/tar"

# --- and all of it on a fresh host ---
sums "$m" >"$T/all.sums"
check "sync" "$GNSFS" sync "$m" --timeout 120
check "fsck" "$GNSFS" fsck "$m"
stop_mount "$m"
start_mount "$url" "$m" "cache=$T/fresh"
sums "$m" | diff "$T/all.sums" - >"$T/diff"
check "every byte, on a fresh host" \
    sh -c "head -20 '$T/diff'; [ ! -s '$T/diff' ]"
same "$m/rsync" "on a fresh host"
check "git fsck there" git -C "$m/clone" fsck --full --strict
for journal in delete wal; do
	check_eq "integrity_check there, journal_mode=$journal" ok \
	    "$(sqlite3 "$m/sql/$journal.db" 'PRAGMA integrity_check')"
	check_eq "the same rows" "$(cat "$T/$journal.sum")" \
	    "$(sqlite3 "$m/sql/$journal.db" \
	    'SELECT k, hex(v), h FROM t ORDER BY k' | sha256sum)"
done
stop_mount "$m"
finish
