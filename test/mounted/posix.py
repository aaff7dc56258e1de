# posix.py TEST DIR: what Linux promises of names, times and links, where
# pjdfstest does not ask.  Each test gets an empty folder and says by its exit
# status whether all was as it should be; on a local filesystem all are.
import ctypes, errno, mmap, os, socket, stat, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4

def fails(want, f, *args, **kw):
	try:
		f(*args, **kw)
	except OSError as e:
		assert e.errno == want, (f.__name__, args, e)
	else:
		raise AssertionError((f.__name__, args, "works"))

def rename2(a, b, flags):
	if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) != 0:
		raise OSError(ctypes.get_errno(), "renameat2")

def put(path, text="x"):
	with open(path, "w") as f:
		f.write(text)

def get(path):
	with open(path) as f:
		return f.read()

def ns(path):
	st = os.lstat(path)
	return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns

def nap():
	time.sleep(0.02)

def exchange():
	os.mkdir("d")
	os.mkdir("d/sub")
	put("f", "file")
	os.mkdir("e")
	rename2("f", "d/sub", EXCHANGE)
	assert get("d/sub") == "file" and os.path.isdir("f")
	assert os.lstat("d").st_nlink == 2 and os.lstat(".").st_nlink == 5
	rename2("d/sub", "f", EXCHANGE)
	assert os.path.isdir("d/sub") and get("f") == "file"
	assert os.lstat("d").st_nlink == 3
	fails(errno.ENOENT, rename2, "f", "absent", EXCHANGE)
	fails(errno.EINVAL, rename2, "d", "d/sub", EXCHANGE)
	fails(errno.EEXIST, rename2, "f", "e", NOREPLACE)
	rename2("f", "g", NOREPLACE)
	assert get("g") == "file" and not os.path.exists("f")
	fails(errno.EINVAL, rename2, "g", "e", NOREPLACE | EXCHANGE)

def renames():
	put("a", "a")
	put("b", "b")
	os.link("a", "a2")
	os.rename("a", "a2")		# two names of one file: nothing
	assert get("a") == "a" and os.lstat("a").st_nlink == 2
	with open("b") as f:
		os.rename("a", "b")
		assert os.fstat(f.fileno()).st_nlink == 0 and f.read() == "b"
	os.mkdir("full")
	put("full/x")
	os.mkdir("empty")
	fails(errno.ENOTEMPTY, os.rename, "empty", "full")
	fails(errno.EINVAL, os.rename, "full", "full/y")
	fails(errno.EISDIR, os.rename, "b", "empty")
	fails(errno.ENOTDIR, os.rename, "empty", "b")
	nap()
	before = ns("full")
	os.rename("full", "empty")
	assert os.listdir("empty") == ["x"] and ns("empty")[2] > before[2]
	here = os.open("empty", os.O_RDONLY)
	os.rename("empty", "moved")
	assert os.listdir(here) == ["x"]
	os.close(here)

def names():
	for n in (1, 255):
		put("n" * n)
		assert get("n" * n) == "x"
		os.unlink("n" * n)
	for f in (os.mkdir, os.lstat, os.mkfifo, os.unlink):
		fails(errno.ENAMETOOLONG, f, "n" * 256)
	fails(errno.ENAMETOOLONG, os.symlink, "x", "n" * 256)
	for text in ("\n", "\\", "a b", "\u00e9", "*", "-", "...", "\x01"):
		put(text)
	put(b"\xff\xfe")
	assert b"\xff\xfe" in os.listdir(b".") and len(os.listdir(".")) == 9
	os.mkdir("\u00e9.d")
	put("\u00e9.d/x")
	deep = "/".join(["d" * 200] * 15)
	os.makedirs(deep)
	put(deep + "/x")

def symlinks():
	for n in (1, 60, 4095):
		os.symlink("t" * n, "s")
		assert os.readlink("s") == "t" * n
		assert os.lstat("s").st_size == n
		assert stat.S_IMODE(os.lstat("s").st_mode) == 0o777
		os.unlink("s")
	fails(errno.ENAMETOOLONG, os.symlink, "t" * 4096, "s")
	fails(errno.ENOENT, os.symlink, "", "s")
	os.symlink("loop", "loop")
	fails(errno.ELOOP, os.stat, "loop")
	fails(errno.ELOOP, os.open, "loop", os.O_RDONLY | os.O_NOFOLLOW)
	os.link("loop", "hard", follow_symlinks=False)
	assert os.lstat("hard").st_nlink == 2
	assert os.readlink("hard") == "loop"
	os.utime("hard", ns=(5, 7), follow_symlinks=False)
	assert ns("loop")[:2] == (5, 7)
	os.lchown("hard", 1, 2)
	assert os.lstat("loop").st_uid == 1

def times():
	put("f")
	far = 2 ** 33 * 10 ** 9 + 999999999
	os.utime("f", ns=(-1, far))
	assert ns("f")[:2] == (-1, far)
	t = ns("f")
	nap()
	os.chmod("f", 0o600)
	assert ns("f")[:2] == t[:2] and ns("f")[2] > t[2]
	for change in (lambda: os.link("f", "g"), lambda: os.rename("g", "h"),
	    lambda: os.unlink("h"), lambda: os.setxattr("f", "user.a", b"b"),
	    lambda: os.chown("f", 1, 1)):
		t = ns("f")
		nap()
		change()
		assert ns("f")[2] > t[2] and ns("f")[:2] == t[:2], change
	for change in (lambda: put("n"), lambda: os.unlink("n"),
	    lambda: os.mkdir("d"), lambda: os.rmdir("d"),
	    lambda: os.symlink("x", "s"), lambda: os.rename("s", "s2"),
	    lambda: os.link("f", "l"), lambda: os.mkfifo("p")):
		t = ns(".")
		nap()
		change()
		assert ns(".")[1] > t[1] and ns(".")[2] > t[2], change
	for change in (lambda: os.truncate("f", 1), lambda: put("f", "yy"),
	    lambda: os.truncate("f", 9)):
		os.utime("f", ns=(far, far))
		t = ns("f")
		nap()
		change()
		assert 0 < ns("f")[1] < far and ns("f")[2] > t[2], change
	os.utime("f", ns=(far, far))
	with open("f", "a") as f:
		f.write("y")
		f.flush()
		t = ns("f")[1]
		assert t < far		# before it is closed, too
	nap()
	assert ns("f")[1] == t

def touch():
	put("f")
	os.utime("f", ns=(10, 20))
	os.utime("f")			# both to now
	assert abs(ns("f")[0] - time.time_ns()) < 10 ** 10
	with open("f", "r+") as f:
		os.utime(f.fileno(), ns=(30, 40))
		assert ns("f")[:2] == (30, 40)
		f.write("later")
		f.flush()
		assert ns("f")[1] > 40
		os.utime(f.fileno(), ns=(50, 60))
	assert ns("f")[:2] == (50, 60)	# close is no write
	nap()
	assert ns("f")[:2] == (50, 60)

def told():
	# what the kernel asks around each new name is answered from memory
	os.mkdir("d")
	os.mkdir("e")
	for n in range(3):
		os.mkdir("d/%d" % n)
		assert os.stat("d").st_nlink == 3 + n
		put("d/f%d" % n)
		assert os.stat("d").st_nlink == 3 + n
	os.rename("d/0", "e/0")
	assert os.stat("d").st_nlink == 4 and os.stat("e").st_nlink == 3
	os.rmdir("d/1")
	assert os.stat("d").st_nlink == 3
	os.chmod("d", 0o700)
	put("d/g")
	assert stat.S_IMODE(os.stat("d").st_mode) == 0o700
	os.chown("d", 1, 2)
	os.unlink("d/g")
	assert (os.stat("d").st_uid, os.stat("d").st_gid) == (1, 2)
	os.utime("d", ns=(5, 7))
	assert ns("d")[:2] == (5, 7)
	nap()
	put("d/h")
	assert ns("d")[0] == 5 and ns("d")[1] > 7
	fd = os.open("new", os.O_CREAT | os.O_RDWR)
	os.write(fd, b"x")
	fails(errno.ENODATA, os.getxattr, "new", "user.a")
	os.setxattr("new", "user.a", b"b")
	assert os.getxattr("new", "user.a") == b"b"
	os.fsync(fd)
	os.write(fd, b"y")
	assert os.getxattr("new", "user.a") == b"b"
	os.removexattr("new", "user.a")
	fails(errno.ENODATA, os.getxattr, "new", "user.a")
	os.close(fd)

def special():
	os.mkfifo("p", 0o640)
	assert stat.S_ISFIFO(os.lstat("p").st_mode)
	r = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
	w = os.open("p", os.O_WRONLY)
	os.write(w, b"through")
	assert os.read(r, 100) == b"through"
	os.close(r)
	os.close(w)
	s = socket.socket(socket.AF_UNIX)
	s.bind("s")
	s.listen(1)
	assert stat.S_ISSOCK(os.lstat("s").st_mode)
	c = socket.socket(socket.AF_UNIX)
	c.connect("s")
	c.close()
	s.close()
	fails(errno.ENXIO, os.open, "s", os.O_RDONLY)
	os.mknod("c", 0o600 | stat.S_IFCHR, os.makedev(300, 70000))
	st = os.lstat("c")
	assert st.st_rdev == os.makedev(300, 70000) and stat.S_ISCHR(st.st_mode)
	os.link("p", "p2")
	assert os.lstat("p").st_nlink == 2
	for name in ("p", "p2", "s", "c"):
		os.unlink(name)

def opens():
	put("f", "content")
	os.mkdir("d")
	fails(errno.EISDIR, os.open, "d", os.O_WRONLY)
	fails(errno.ENOTDIR, os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
	fails(errno.ENOTDIR, os.lstat, "f/x")
	fails(errno.EEXIST, os.open, "f", os.O_CREAT | os.O_EXCL)
	fails(errno.EISDIR, os.open, "d", os.O_CREAT | os.O_RDWR)
	fd = os.open("f", os.O_RDONLY | os.O_TRUNC)
	os.close(fd)
	assert os.lstat("f").st_size == 0
	fd = os.open("n", os.O_CREAT | os.O_WRONLY, 0o000)
	assert os.write(fd, b"mine") == 4	# whatever the mode says now
	fails(errno.EBADF, os.read, fd, 1)
	os.close(fd)
	fd = os.open("a", os.O_CREAT | os.O_RDONLY)
	fails(errno.EBADF, os.write, fd, b"x")
	os.close(fd)
	fd = os.open("f", os.O_RDWR | os.O_APPEND)
	os.pwrite(fd, b"one", 100)
	os.write(fd, b"two")
	os.close(fd)
	assert get("f") == "onetwo"
	fails(errno.EINVAL, os.truncate, "f", -1)
	fails(errno.EISDIR, os.truncate, "d", 0)

def setgid():
	os.mkdir("d")
	os.chown("d", 0, 1234)
	os.chmod("d", 0o2777)
	put("d/f")
	os.mkdir("d/sub")
	os.symlink("x", "d/s")
	os.mkfifo("d/p")
	for name in ("f", "sub", "s", "p"):
		assert os.lstat("d/" + name).st_gid == 1234, name
	assert os.lstat("d/sub").st_mode & stat.S_ISGID
	assert not os.lstat("d/f").st_mode & stat.S_ISGID

def sticky():
	os.chmod(".", 0o1777)
	put("roots")
	pid = os.fork()
	if pid == 0:
		os.setgid(65534)
		os.setuid(65534)
		put("mine")
		fails(errno.EPERM, os.unlink, "roots")
		fails(errno.EPERM, os.rename, "roots", "r")
		fails(errno.EPERM, os.rename, "mine", "roots")
		fails(errno.EPERM, rename2, "mine", "roots", EXCHANGE)
		fails(errno.EPERM, os.chmod, "roots", 0o777)
		fails(errno.EPERM, os.chown, "mine", 1, -1)
		os.rename("mine", "still mine")
		os.unlink("still mine")
		os._exit(0)
	assert os.waitpid(pid, 0)[1] == 0

def unlinked():
	fd = os.open("f", os.O_CREAT | os.O_RDWR)
	os.write(fd, b"bytes")
	os.fchmod(fd, 0o611)
	os.unlink("f")
	st = os.fstat(fd)
	assert st.st_nlink == 0 and st.st_size == 5
	assert stat.S_IMODE(st.st_mode) == 0o611
	os.ftruncate(fd, 3)
	os.fchown(fd, 5, 6)
	os.utime(fd, ns=(1, 2))
	st = os.fstat(fd)
	assert (st.st_size, st.st_uid, st.st_gid) == (3, 5, 6)
	assert (st.st_atime_ns, st.st_mtime_ns) == (1, 2)
	os.pwrite(fd, b"Z" * 100000, 10)
	assert os.fstat(fd).st_size == 100010
	assert os.pread(fd, 5, 8) == b"\0\0ZZZ"
	os.fsync(fd)
	put("f", "another")
	assert os.pread(fd, 3, 0) == b"byt"
	os.close(fd)
	assert get("f") == "another"

def removed():
	os.mkdir("d")
	os.mkdir("e")
	fds = [os.open(d, os.O_RDONLY) for d in ("d", "e")]
	os.rmdir("d")
	os.mkdir("f")
	os.rename("f", "e")
	for fd in fds:
		assert os.fstat(fd).st_nlink == 0 and os.listdir(fd) == []
		fails(errno.ENOENT, os.mkdir, "x", dir_fd=fd)
		os.close(fd)
	os.mkfifo("p")
	fd = os.open("p", os.O_RDWR)
	os.unlink("p")
	assert stat.S_ISFIFO(os.fstat(fd).st_mode)
	assert os.fstat(fd).st_nlink == 0
	os.close(fd)

def holes():
	fd = os.open("f", os.O_CREAT | os.O_RDWR)
	os.posix_fallocate(fd, 0, 300000)
	assert os.fstat(fd).st_size == 300000
	os.pwrite(fd, b"x" * 300000, 0)
	assert libc.fallocate(fd, 3, ctypes.c_long(100000),
	    ctypes.c_long(50000)) == 0
	assert os.pread(fd, 4, 99998) == b"xx\0\0"
	assert os.pread(fd, 4, 149998) == b"\0\0xx"
	assert libc.fallocate(fd, 1, ctypes.c_long(300000),
	    ctypes.c_long(1000)) == 0
	assert os.fstat(fd).st_size == 300000
	os.ftruncate(fd, 2 ** 26)
	os.pwrite(fd, b"end", 2 ** 26 - 3)
	assert os.lseek(fd, 0, os.SEEK_DATA) == 0
	assert os.lseek(fd, 2 ** 25, os.SEEK_HOLE) >= 2 ** 25
	fails(errno.ENXIO, os.lseek, fd, 2 ** 26, os.SEEK_DATA)
	fails(errno.EFBIG, os.ftruncate, fd, 2 ** 63 - 1)
	os.close(fd)

class IOCB(ctypes.Structure):
	_fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32),
	    ("rw_flags", ctypes.c_int32), ("opcode", ctypes.c_uint16),
	    ("prio", ctypes.c_int16), ("fd", ctypes.c_uint32),
	    ("buf", ctypes.c_uint64), ("nbytes", ctypes.c_uint64),
	    ("offset", ctypes.c_int64), ("reserved", ctypes.c_uint64),
	    ("flags", ctypes.c_uint32), ("resfd", ctypes.c_uint32)]

class Aio:
	"""Linux's own asynchronous I/O, of one page-aligned buffer."""
	SETUP, GETEVENTS, SUBMIT, PWRITE = 206, 208, 209, 1	# x86_64

	def __init__(self, n):
		self.n, self.ctx = n, ctypes.c_uint64(0)
		self.map = mmap.mmap(-1, n)
		self.at = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
		self.call(self.SETUP, 8, ctypes.byref(self.ctx))

	def call(self, *args):
		r = libc.syscall(*args)
		if r < 0:
			raise OSError(ctypes.get_errno(), "aio")
		return r

	def write(self, fd, byte, off):
		self.map[:] = byte * self.n
		cb = IOCB(opcode=self.PWRITE, fd=fd, buf=self.at,
		    nbytes=self.n, offset=off)
		many = (ctypes.c_void_p * 1)(ctypes.addressof(cb))
		events = (ctypes.c_uint64 * 4)()
		self.call(self.SUBMIT, self.ctx, 1, many)
		self.call(self.GETEVENTS, self.ctx, 1, 1, events, None)
		assert events[2] == self.n, (events[2], self.n)

def direct():
	"""What was written past the page cache, asynchronously, is what those
	who read through it have from then on."""
	n, rounds = 1 << 16, 400
	with open("f", "wb") as f:
		f.write(b"a" * (8 * n))
	aio = Aio(n)
	w = os.open("f", os.O_RDWR | os.O_DIRECT)
	r = os.open("f", os.O_RDONLY)
	end = threading.Event()

	def reader():
		while not end.is_set():
			os.pread(r, 8 * n, 0)
	threads = [threading.Thread(target=reader) for _ in range(4)]
	for t in threads:
		t.start()
	stale = 0
	for i in range(rounds):
		byte = bytes([98 + i % 20])
		aio.write(w, byte, i % 8 * n)
		stale += os.pread(r, n, i % 8 * n) != byte * n
	end.set()
	for t in threads:
		t.join()
	assert stale == 0, (stale, rounds)

def listing():
	want = set()
	for i in range(3000):
		put("f%d" % i, "")
		want.add("f%d" % i)
	assert set(os.listdir(".")) == want
	for i, e in enumerate(os.scandir(".")):	# removed as it is read
		os.unlink(e.name)
	assert os.listdir(".") == []

test, top = sys.argv[1:]
os.umask(0o022)
os.mkdir(os.path.join(top, test))
os.chdir(os.path.join(top, test))
globals()[test]()
