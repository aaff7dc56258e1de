# setid.sh: set-user-id and set-group-id bits go when a file is written,
# truncated or given away, as they do on a local filesystem; and the kernel
# asks for a file's capabilities once, not at each write.

. "$(dirname "$0")/../lib.sh"
begin
url=$(store_url file home)
m=$T/m
format_home "$url"
start_mount "$url" "$m"
chmod 755 "$T"
mkdir "$T/local" "$m/dir"
chmod 777 "$T/local" "$m/dir"

# modes DIR: what is left of each mode after each change, by owner and root.
cat >"$T/modes.py" <<'END'
import errno, os, sys
top = sys.argv[1]
NOBODY = 65534

def write(p):
	with open(p, "r+b", 0) as f:
		f.write(b"x")

def append(p):
	with open(p, "ab", 0) as f:
		f.write(b"x" * 70000)

def overwrite(p):
	with open(p, "wb", 0):
		pass

def again(p):
	with open(p, "r+b", 0) as f:
		f.write(b"x")
		os.seteuid(0)
		os.chmod(p, 0o6755)
		os.seteuid(as_user)
		f.write(b"y")

def truncate(p):
	os.truncate(p, 3)

def ftruncate(p):
	with open(p, "r+b", 0) as f:
		f.truncate(1)

def fallocate(p):
	with open(p, "r+b", 0) as f:
		os.posix_fallocate(f.fileno(), 0, 100000)

def copy_range(p):
	with open(p + ".src", "rb", 0) as i, open(p, "r+b", 0) as o:
		os.copy_file_range(i.fileno(), o.fileno(), 10)

def unlinked(p):
	with open(p, "r+b", 0) as f:
		os.unlink(p)
		f.write(b"x")
		st = os.fstat(f.fileno())
	with open(p, "wb", 0) as f:
		os.fchmod(f.fileno(), st.st_mode & 0o7777)

def chgrp(p):
	os.chown(p, -1, os.getegid())

def chown(p):
	os.chown(p, os.geteuid(), -1)

def same(p):
	os.chown(p, -1, -1)

def chmod(p):
	os.chmod(p, 0o6711)

n = 0
for as_user in (NOBODY, 0):
	for mode in (0o4755, 0o2775, 0o6777, 0o2765, 0o6644, 0o755):
		for change in (write, append, overwrite, again, truncate,
		    ftruncate, fallocate, copy_range, unlinked, chgrp, chown,
		    same, chmod):
			n += 1
			p = "%s/f%d" % (top, n)
			for q in (p, p + ".src"):
				with open(q, "wb") as f:
					f.write(b"0123456789abcdef")
				os.chown(q, NOBODY, NOBODY)
				os.chmod(q, mode)
			os.setegid(NOBODY if as_user else 0)
			os.seteuid(as_user)
			err = ""
			try:
				change(p)
			except OSError as e:
				err = errno.errorcode[e.errno]
			os.seteuid(0)
			os.setegid(0)
			print("%5d %04o %-10s %04o %s" % (as_user, mode,
			    change.__name__, os.stat(p).st_mode & 0o7777, err))
END
check "modes on a local filesystem" python3 "$T/modes.py" "$T/local"
cp "$T/out" "$T/want"
check "modes on the mount" python3 "$T/modes.py" "$m/dir"
cp "$T/out" "$T/have"
check "they are the same" diff "$T/want" "$T/have"

# requests: how many the daemon has had.
requests()
{
	quiet "$GNSFS" status "$m" --json && json "$T/out" \
	    "j['counters']['fuse_requests']"
}

before=$(requests)
python3 -c 'import sys
with open(sys.argv[1], "wb", 0) as f:
	for i in range(1000):
		f.write(b"x" * 512)' "$m/many"
after=$(requests)
case $before$after in
*[!0-9]*|'')
	skip "a write is one request" "status does not count them" ;;
*)	check "a write is one request" test $((after - before)) -lt 1100 ;;
esac
stop_mount "$m"
finish
