#!/bin/sh
# The benchmarks of `make bench`: gnsfs beside the disk below, curl, s3fs and
# rclone, on the same server, interleaved in one run (bench.py says how).
#
#   sh test/bench/bench.sh [--rounds N] [--only NAME[,NAME...]] [--scale F]
#
# Root is needed (mounts, dropping the page cache).  Installs s3fs by apt,
# versitygw and rclone as Go modules, into the tests' tools folder.

cd "$(dirname "$0")/../.." || exit 1
. test/servers.sh

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/gnsfs-bench.XXXXXX")
cleanup()
{
	grep " $work/" /proc/self/mounts | while read -r _ dir _; do
		umount -l "$dir" || true
	done
	s3_stop || true
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

servers_need s3fs command -v s3fs
servers_need fuse3 command -v fusermount3
servers_need curl command -v curl
servers_need python3 command -v python3
go_tool rclone github.com/rclone/rclone "${RCLONE_VERSION:-latest}"
: "${GNSFS_BIN:=$PWD/gnsfs}"; export GNSFS_BIN
[ -x "$GNSFS_BIN" ] || make >/dev/null || exit 1
s3_start "$work/s3" 0 || exit 1
PATH=$(servers_dir)/bin:$PATH S3_ENDPOINT=$S3_ENDPOINT S3_DIR=$S3_DIR \
	python3 test/bench/bench.py --work "$work" "$@"
