# demo.sh: the main job on a store that is a folder, from nothing.
#
# Installs what is missing (as root), builds, and then: a namespace is made and
# mounted, an existing folder of files imported without a copy, read, pinned;
# a checkpoint and small files written and stored; all unmounted, and mounted
# again as if on another machine, with nothing kept: the same bytes.
# Each command is shown as `$ ...`.  Leaves nothing behind, in ${TMPDIR:-/tmp}
# neither, and ends with a line that says so, or not with 0.

cd "$(dirname "$0")/.." || exit 1
top=$PWD
demo=
dir=

die()
{
	echo "demo: $*" >&2
	exit 1
}

cleanup()
{
	_rc=$?
	trap - EXIT
	trap '' INT TERM HUP
	cd /
	if [ -n "$dir" ] && is_mounted; then
		gnsfs umount "$dir" --force --timeout 5s >/dev/null 2>&1
		is_mounted && { umount -l "$dir" || fusermount3 -uz "$dir"; }
	fi
	[ -z "$demo" ] || rm -rf --one-file-system "$demo"
	exit $_rc
}

is_mounted()
{
	awk -v dir="$dir" '$5 == dir { f = 1 } END { exit !f }' \
	    /proc/self/mountinfo
}

# Shows a command, runs it, shows what it gives.
run()
{
	printf '\n$ %s\n' "$*"
	eval "$*" || die "that failed, with status $?"
}

sums()
{
	(cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum)
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "# What building needs, and the build"
run sh test/deps.sh build
run "make -j$(nproc) >build.log 2>&1 || { tail -20 build.log; false; }"
rm -f build.log

PATH=$top:$PATH
demo=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-demo.XXXXXX") || exit 1
demo=$(cd "$demo" && pwd -P)
dir=$demo/gns
mkdir "$dir" "$demo/store" "$demo/local" || exit 1
cd "$demo" || exit 1

# Three hundred files in a folder: the bucket that was always there.
n=0
while [ $n -lt 300 ]; do
	sub=photos/$((n / 100))
	[ -d "$sub" ] || mkdir -p "$sub"
	head -c $((2000 + n * 400)) /dev/urandom >"$sub/$n.jpg"
	n=$((n + 1))
done
echo "made by hand" >photos/README
sums photos >photos.sums

echo
echo "# A namespace, mounted"
run gnsfs format "file://$demo/store"
run gnsfs mount "file://$demo/store" "$dir" -o "cache=$demo/cache"
run gnsfs status "$dir"

echo
echo "# An existing folder of files: listed, not copied"
run gnsfs import "file://$demo/photos" "$dir/photos"
run ls "$dir/photos"
run "find $dir/photos -name '*.jpg' | wc -l"
run cat "$dir/photos/README"
run "gnsfs find '$dir/photos/**/*.jpg' 'size>115K' --and"
(cd "$dir/photos" && sha256sum -c --quiet "$demo/photos.sums") ||
    die "the imported files do not have the bytes of the folder"
echo "(all 301 files have the folder's bytes)"

echo
echo "# Some of it kept here, whatever else comes"
run "gnsfs pin '$dir/photos/**/*.jpg' --wait"
run gnsfs pins "$dir"

echo
echo "# A checkpoint and small files, stored when sync returns"
run mkdir -p "$dir/ckpt/notes"
run "head -c 67108864 /dev/urandom >$dir/ckpt/step-1000.pt"
run "for i in 1 2 3 4 5; do echo note \$i >$dir/ckpt/notes/\$i; done"
run mv "$dir/ckpt/step-1000.pt" "$dir/ckpt/latest.pt"
run gnsfs sync "$dir"
run gnsfs status "$dir"
run "gnsfs explain $dir/ckpt/latest.pt"
sums "$dir" >all.sums
(cd "$dir" && find . | LC_ALL=C sort) >all.names
run gnsfs umount "$dir"
is_mounted && die "it is still mounted"

echo
echo "# Another machine: the same home, an empty cache"
run rm -rf "$demo/cache"
run gnsfs mount "file://$demo/store" "$dir" -o "cache=$demo/cache2"
run ls -l "$dir/ckpt" "$dir/ckpt/notes"
(cd "$dir" && find . | LC_ALL=C sort) | cmp - all.names ||
    die "the tree is another one"
run "cd $dir && sha256sum -c --quiet $demo/all.sums && cd $demo"
echo "($(wc -l <all.sums) files, the same bytes)"
run gnsfs umount "$dir"
is_mounted && die "it is still mounted"

echo
echo "All is well: formatted, imported, read, pinned, written, stored, and" \
    "the same bytes again from nothing but the store."
