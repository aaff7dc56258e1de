"""proxy.py: an HTTP proxy that fails in the ways networks and stores do.

  proxy.py PORT_FILE TARGET_PORT RULES LOG

Listens on a free loopback port, which it writes to PORT_FILE, and passes
requests on to TARGET_PORT.  RULES has lines `ACTION CLASS WHICH`, read again
whenever it changed (which starts the counting afresh):

  drop      the request is passed on, its answer is awaited, and thrown away
            with the connection: done, and nobody was told
  503, 429  is answered, and nothing passed on
  500       is answered after the request was passed on, for what was answered
  reset     the connection is reset, and nothing passed on
  cut       half of the answer's body (get and list alone), and the connection
            is closed
  late      the answer comes 0.3 s late, the second half of it later
  hold      nothing is passed on, and nothing answered, until the rules
            change; then it is passed on, whoever still waits for it
  slow      the answer comes a byte at a time, four a second, until then
  refuse    no connection is accepted and those there are reset: for as long
            as the rules have a line of it, whatever its CLASS and WHICH

WHICH is N, the first N requests of the class, or /N, every Nth one.  Classes:
gnsfs.json manifest segment piece snap host data (puts of whole objects),
create part complete abort (of a multipart upload), put (any other), get list
head delete; and `any`.  What a server asks of itself through here (Azurite, of
a copy's source) is passed on as it is.  LOG gets a line `ACTION CLASS PATH` for each that was
done, before it is felt.
"""
import os
import re
import socket
import struct
import sys
import threading
import time

PORT_FILE, TARGET, RULES, LOG = sys.argv[1:5]
ERRORS = {"503": ("SlowDown", "Please reduce your request rate."),
          "429": ("TooManyRequests", "Please wait."),
          "500": ("InternalError", "We encountered an internal error.")}


class Rules:
    def __init__(self):
        self.lock = threading.Lock()
        self.stamp, self.rules, self.seen = None, [], {}
        self.log = open(LOG, "a", buffering=1)

    def read(self):
        """With the lock: the stamp of what holds now."""
        st = os.stat(RULES)
        stamp = (st.st_mtime_ns, st.st_ino, st.st_size)
        if stamp != self.stamp:
            self.stamp, self.seen = stamp, {}
            with open(RULES) as f:
                self.rules = [tuple(x.split()) for x in f if x.split()]
        return stamp

    def now(self):
        with self.lock:
            return self.read()

    def refuses(self):
        with self.lock:
            self.read()
            return any(x[0] == "refuse" for x in self.rules)

    def pick(self, cls, path):
        with self.lock:
            self.read()
            for rule in self.rules:
                action, want, which = rule
                if want not in (cls, "any") or \
                        (action == "cut" and cls not in ("get", "list")):
                    continue
                n = self.seen[rule] = self.seen.get(rule, 0) + 1
                if (n % int(which[1:]) == 0 if which[0] == "/"
                        else n <= int(which)):
                    self.log.write(f"{action} {cls} {path}\n")
                    return action
        return None


def classify(method, path):
    path, _, query = path.partition("?")
    if method == "GET":
        return "list" if "list-type" in query or "comp=list" in query \
            else "get"
    if method == "HEAD":
        return "head"
    if method == "DELETE":
        return "abort" if "uploadId" in query else "delete"
    if method == "POST":
        return "complete" if "uploadId" in query else "create"
    if "partNumber" in query:
        return "part"
    for pattern, cls in ((r"/gnsfs\.json$", "gnsfs.json"),
                         (r"/MANIFEST$", "manifest"), (r"/log/", "segment"),
                         (r"/piece/", "piece"), (r"/snap/", "snap"),
                         (r"/host/", "host"), (r"/data/", "data")):
        if re.search(pattern, path):
            return cls
    return "put"


class Gone(Exception):
    pass


class Stream:
    """A connection, read by lines and lengths."""

    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise Gone
        self.buf += data

    def head(self):
        while b"\r\n\r\n" not in self.buf:
            self.more()
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        return lines[0], [tuple(x.split(":", 1)) for x in lines[1:]]

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def exactly(self, n):
        parts, have = [self.buf[:n]], min(n, len(self.buf))
        self.buf = self.buf[n:]
        while have < n:
            data = self.sock.recv(min(1 << 18, n - have))
            if not data:
                raise Gone
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def body(self, headers, rest=False):
        """The body as it came, chunk marks and all."""
        if "chunked" in header(headers, "transfer-encoding", ""):
            out = b""
            while True:
                line = self.line()
                n = int(line.split(b";")[0], 16)
                out += line + b"\r\n" + self.exactly(n + 2)
                if n == 0:
                    return out
        n = header(headers, "content-length", None)
        return self.exactly(int(n)) if n is not None else b""


def header(headers, name, default):
    for k, v in headers:
        if k.lower() == name:
            return v.strip().lower()
    return default


def text(first, headers):
    return (first + "\r\n" + "".join(f"{k}:{v}\r\n" for k, v in headers) +
            "\r\n").encode("latin-1")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


class Client(threading.Thread):
    alive = set()

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.sock, self.up = sock, None

    def run(self):
        Client.alive.add(self)
        try:
            stream = Stream(self.sock)
            while self.one(stream):
                pass
        except (Gone, OSError, ValueError):
            pass
        Client.alive.discard(self)
        for s in (self.sock, self.up and self.up.sock):
            if s:
                s.close()

    def end(self):
        """From another thread: whatever it waits for is over."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send(self, data, slow):
        stamp = rules.now()
        while slow and data and rules.now() == stamp:
            self.sock.sendall(data[:1])
            data = data[1:]
            time.sleep(0.25)
        self.sock.sendall(data)

    def forward(self, first, headers, body):
        method = first.split()[0]
        for fresh in (False, True):
            if self.up is None or fresh:
                self.up = Stream(socket.create_connection(
                    ("127.0.0.1", int(TARGET))))
                fresh = True
            try:
                self.up.sock.sendall(text(first, headers) + body)
                status, h = self.up.head()
                break
            except (Gone, OSError):
                # an idle connection that the server had closed
                if fresh:
                    raise
        while status.split()[1] == "100":
            status, h = self.up.head()
        none = method == "HEAD" or status.split()[1] in ("204", "304")
        answer = b"" if none else self.up.body(h)
        if header(h, "connection", "") == "close":
            self.up.sock.close()
            self.up = None
        return status, h, answer

    def refuse(self, status, method):
        code, why = ERRORS[status]
        xml = f"<Error><Code>{code}</Code><Message>{why}</Message></Error>" \
            .encode()
        self.sock.sendall(text(f"HTTP/1.1 {status} {why}", [
            ("Content-Type", " application/xml"),
            ("Content-Length", f" {len(xml)}")]) +
            (b"" if method == "HEAD" else xml))

    def one(self, stream):
        first, headers = stream.head()
        method, path = first.split()[:2]
        if header(headers, "expect", "") == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            headers = [x for x in headers if x[0].lower() != "expect"]
        body = stream.body(headers)
        cls = classify(method, path)
        own = header(headers, "user-agent", "").startswith("axios")
        action = None if own else rules.pick(cls, path)
        if action == "hold":
            stamp = rules.now()
            while rules.now() == stamp:
                time.sleep(0.05)
        if action == "reset":
            reset(self.sock)
            return False
        if action in ("503", "429"):
            self.refuse(action, method)
            return True
        status, h, answer = self.forward(first, headers, body)
        if action == "500":
            self.refuse(action, method)
            return True
        if action == "drop":
            reset(self.sock)
            return False
        if action == "cut":
            self.sock.sendall(text(status, h) + answer[:len(answer) // 2])
            return False
        if action == "late":
            time.sleep(0.3)
            half = len(answer) // 2
            self.sock.sendall(text(status, h) + answer[:half])
            time.sleep(0.1)
            self.sock.sendall(answer[half:])
        else:
            self.send(text(status, h) + answer, action == "slow")
        return header(h, "connection", "") != "close"


def listen(port):
    return socket.create_server(("127.0.0.1", port), backlog=128)


rules = Rules()
listener = listen(0)
port = listener.getsockname()[1]
with open(PORT_FILE + ".new", "w") as f:
    f.write(str(port))
os.rename(PORT_FILE + ".new", PORT_FILE)
while True:
    if rules.refuses():
        listener.close()
        while rules.refuses():
            for client in list(Client.alive):
                client.end()
            time.sleep(0.05)
        listener = listen(port)
    listener.settimeout(0.1)
    try:
        sock = listener.accept()[0]
    except socket.timeout:
        continue
    sock.settimeout(None)
    Client(sock).start()
