"""liar.py: an HTTP proxy before a store, which lies about it.

  liar.py PORT_FILE TARGET_PORT LIES OBJECTS

Listens on a free loopback port, which it writes to PORT_FILE.  LIES has lines
`LIE METHOD SUBSTRING`, read again for each request: requests of the method (or
`any`) whose target has the substring are answered so, all others are passed
on and answered truly.  OBJECTS is the folder that the store keeps them in.

  short       half the body, with the length of the whole, and the end
  shorter     half the body, and its length says so too
  swapped     the body and ETag of another object (`two`, asked for `one`)
  as:/B/KEY   the body of another object, with the ETag of the one asked for
  damaged     one byte of the body is another
  yes         200, and nothing is done
  moved       301 to elsewhere
  found       307 to elsewhere
  error       200, and an error in the body
  page        200, and a page of HTML (somebody's portal)
  badgate     502 and a page of HTML
  skewed      403 RequestTimeTooSkewed
  babble      no HTTP at all
  silent      nothing, for ever
  empty       the connection is closed
  endless     a list that says there is more, and never ends
  nolist      a list that is no XML
  left        a list of uploads that have not ended: of ours an old one and one
              that goes on, and an old one of somebody else
  blind       conditions of writes are not passed on: the store knows none
  refuses     501 to a write by condition, as of a store that knows none
  miscopies   what the store copies by itself has one byte that is another
"""
import hashlib
import hmac
import http.client
import http.server
import os
import re
import sys
import time

PORT_FILE, TARGET, LIES, OBJECTS = sys.argv[1:5]
PAGE = b"<html><body>Please log in.</body></html>"
ERROR = (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code>'
         b"<Message>%s</Message></Error>")
CONDITIONS = ("if-match", "if-none-match")
ENDLESS = (b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>'
           b"<IsTruncated>true</IsTruncated><NextContinuationToken>same"
           b"</NextContinuationToken></ListBucketResult>")
UPLOAD = ("<Upload><Key>%s</Key><UploadId>u</UploadId><Initiated>%s"
          "</Initiated></Upload>")


def left():
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    old = "2020-01-01T00:00:00.000Z"
    return ("<ListMultipartUploadsResult>" +
            UPLOAD % ("far/data/0a/2-10a", old) +
            UPLOAD % ("far/data/0b/2-10b", now) +
            UPLOAD % ("far/data/film.mp4", old) +
            "</ListMultipartUploadsResult>").encode()


class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "liar"

    def log_message(self, *args):
        pass

    def lie(self):
        with open(LIES) as f:
            for line in f:
                lie, method, part = line.split()
                if method in ("any", self.command) and part in self.path:
                    return lie
        return None

    def conditional(self):
        return self.command in ("PUT", "POST", "DELETE") and \
            any(c in self.headers for c in CONDITIONS)

    def forget_conditions(self):
        """And signs anew (Signature Version 4), for they were signed."""
        auth = self.headers["Authorization"]
        scope = re.search("Credential=[^/]*/([^,]*)", auth)[1]
        names = re.search("SignedHeaders=([^,]*)", auth)[1].split(";")
        names = [n for n in names if n not in CONDITIONS]
        for c in CONDITIONS:
            del self.headers[c]
        path, _, query = self.path.partition("?")
        request = "\n".join(
            [self.command, path, query] +
            [f"{n}:{self.headers[n]}" for n in names] +
            ["", ";".join(names), self.headers["x-amz-content-sha256"]])
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"],
                          scope, hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
        for part in scope.split("/") + [text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        auth = re.sub("SignedHeaders=[^,]*", "SignedHeaders=" +
                      ";".join(names), auth)
        del self.headers["Authorization"]
        self.headers["Authorization"] = re.sub(
            "Signature=.*", "Signature=" + key.hex(), auth)

    def miscopy(self):
        """Another file, that the store knows no sum of."""
        path = OBJECTS + self.path.partition("?")[0]
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data[len(data) // 2] ^= 0x55
        with open(path + ".new", "wb") as f:
            f.write(data)
        os.replace(path + ".new", path)

    def ask(self, target, body):
        c = http.client.HTTPConnection("127.0.0.1", int(TARGET))
        c.putrequest(self.command, target, skip_host=True,
                     skip_accept_encoding=True)
        for k, v in self.headers.items():
            if k.lower() not in ("connection", "expect"):
                c.putheader(k, v)
        c.endheaders(body)
        r = c.getresponse()
        return r.status, r.getheaders(), r.read()

    def tell(self, status, headers, body, length=None):
        self.send_response_only(status)
        for k, v in headers:
            if k.lower() not in ("content-length", "transfer-encoding",
                                 "connection"):
                self.send_header(k, v)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length",
                             str(len(body) if length is None else length))
        else:
            for k, v in headers:
                if k.lower() == "content-length":
                    self.send_header(k, v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def made_up(self, lie):
        """An answer for which nobody is asked."""
        if lie in ("moved", "found"):
            self.tell(301 if lie == "moved" else 307,
                      [("Location", "http://127.0.0.1:1/elsewhere")], b"")
        elif lie == "yes":
            self.tell(200, [("ETag", '"x"')], b"")
        elif lie == "error":
            self.tell(200, [("Content-Type", "application/xml")],
                      ERROR % (b"InternalError", b"We had a problem."))
        elif lie == "refuses":
            self.tell(501, [("Content-Type", "application/xml")],
                      ERROR % (b"NotImplemented", b"A header you provided "
                               b"implies functionality that is not "
                               b"implemented."))
        elif lie == "skewed":
            self.tell(403, [("Date", "Mon, 01 Jan 2001 00:00:00 GMT")],
                      ERROR % (b"RequestTimeTooSkewed", b"Too far apart."))
        elif lie in ("page", "badgate", "nolist"):
            self.tell(502 if lie == "badgate" else 200,
                      [("Content-Type", "text/html")], PAGE)
        elif lie == "left":
            self.tell(200, [("Content-Type", "application/xml")], left())
        elif lie == "endless":
            self.tell(200, [("Content-Type", "application/xml")], ENDLESS)
        else:
            self.close_connection = True
            if lie == "babble":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            elif lie == "silent":
                time.sleep(60)
            else:
                return lie != "empty"
        return False

    def any(self):
        n = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(n)
        lie = self.lie()
        if lie in ("blind", "refuses") and not self.conditional():
            lie = None
        if lie == "blind":
            self.forget_conditions()
            lie = None
        if lie and not self.made_up(lie):
            return
        self.close_connection = False
        status, headers, answer = self.ask(self.path, body)
        if lie == "miscopies" and "x-amz-copy-source" in self.headers:
            self.miscopy()
        if not lie or status not in (200, 206) or self.command != "GET":
            self.tell(status, headers, answer)
        elif lie == "short":
            self.tell(status, headers, answer[:len(answer) // 2],
                      len(answer))
        elif lie == "shorter":
            self.tell(status, headers, answer[:len(answer) // 2])
        elif lie == "damaged":
            at = len(answer) // 2
            self.tell(status, headers, answer[:at] +
                      bytes([answer[at] ^ 0x55]) + answer[at + 1:])
        else:
            path = lie[3:] if lie.startswith("as:") else \
                re.sub("one.*", "two", self.path)
            with open(OBJECTS + path, "rb") as f:
                other = f.read()
            if lie == "swapped":
                etag = hashlib.md5(other).hexdigest()
                headers = [(k, f'"{etag}"' if k.lower() == "etag" else v)
                           for k, v in headers]
            m = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            at = int(m[1]) if m else 0
            self.tell(status, headers, other[at:at + len(answer)])

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass        # whoever asked has gone


server = Server(("127.0.0.1", 0), Liar)
with open(PORT_FILE + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(PORT_FILE + ".new", PORT_FILE)
server.serve_forever()
