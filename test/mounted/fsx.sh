# fsx.sh: random reads, writes, mappings, truncations and the like of one file,
# each read compared with what must be there, by the crate fsx; then the same
# bytes on a host that has nothing.  Four seeds, on files that stay small, that
# become large and that have several chunks, passed through or not, while they
# are uploaded.
# timeout: 1200
#
#   sh test/mounted/fsx.sh [SEED...]

. "$(dirname "$0")/../lib.sh"
. "$TOP/test/suites.sh"
OPS=100000			# for each seed
[ -z "${GNSFS_TEST_SHORT:-}" ] || OPS=20000

# configuration LENGTH SYNC: of files of up to so many bytes; with msync after
# each write to a mapping, or without.
configuration()
{
	_lazy=true
	[ "$2" != msync ] || _lazy=false
	cat <<-END
	flen = $1
	nomsyncafterwrite = $_lazy
	[opsize]
	max = 65536
	[weights]
	close_open = 1
	read = 10
	write = 10
	mapread = 10
	mapwrite = 10
	truncate = 4
	invalidate = 1
	fsync = 0.1
	fdatasync = 0.1
	posix_fallocate = 1
	punch_hole = 1
	sendfile = 2
	posix_fadvise = 1
	copy_file_range = 2
	END
}

# exercise SEED LENGTH SYNC [OPTS]
exercise()
{
	start_mount "$home" "$m" "lag=100ms${4:+,$4}"
	configuration "$2" "$3" >"$T/fsx.toml"
	mkdir "$T/artifacts.$1"
	check "seed $1: $OPS operations, up to $2 bytes, $3${4:+, $4}" \
	    "$suite" -f "$T/fsx.toml" -N "$OPS" -S "$1" \
	    -P "$T/artifacts.$1" "$m/file-$1"
	stop_mount "$m"
}

begin
suite=$(suite_fsx) || bail "fsx cannot be installed"
m=$T/m
home=$(store_url file home)
format_home "$home"
for seed in "${@:-1}"; do
	exercise "$seed" 262144 msync
done
if [ $# = 0 ]; then
	exercise 2 60000 lazy
	exercise 3 4000000 lazy
	exercise 4 262144 lazy passthrough=off
fi

start_mount "$home" "$m" lag=100ms
sums "$m" >"$T/sums"
check "there is something to compare" [ -s "$T/sums" ]
check "sync" "$GNSFS" sync "$m"
check "fsck finds one digest" "$GNSFS" fsck "$m"
stop_mount "$m"
rm -rf --one-file-system "$T/cache.m"
start_mount "$home" "$m"
sums "$m" | diff "$T/sums" - >"$T/diff"
check "from nothing: the same bytes" sh -c "cat '$T/diff'; [ ! -s '$T/diff' ]"
stop_mount "$m"
finish
