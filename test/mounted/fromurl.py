"""fromurl.py: the two calls of Azure Blob that Azurite lacks, before it.

  fromurl.py PORT_FILE TARGET_PORT SAS LOG

Put Blob From URL and Put Block From URL as the service documents them: the
bytes are really fetched from x-ms-copy-source, with no headers of the
caller's but x-ms-copy-source-authorization, and put into Azurite, by SAS; all
else is passed on as it came.  LOG gets a line `CALL STATUS URL` for each.
"""
import http.client
import http.server
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

PORT_FILE, TARGET, SAS, LOG = sys.argv[1:5]
HOP = ("connection", "keep-alive", "transfer-encoding", "server", "date")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def version_string(self):
        return "Windows-Azure-Blob/1.0"

    def log_message(self, *args):
        pass

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP + ("content-length",):
                self.send_header(name, value)
        size = len(body)
        if self.command == "HEAD":
            size = next((v for k, v in headers
                         if k.lower() == "content-length"), 0)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code):
        self.answer(status, [("x-ms-error-code", code)],
                    f"<Error><Code>{code}</Code></Error>".encode())

    def ask(self, path, headers, body):
        """Of Azurite."""
        c = http.client.HTTPConnection("127.0.0.1", int(TARGET))
        c.putrequest(self.command, path, skip_host=True,
                     skip_accept_encoding=True)
        for name, value in headers:
            c.putheader(name, value)
        c.endheaders(body)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.getheaders(), data

    def fetch(self):
        """The source's bytes, or None where it has been answered."""
        url = self.headers["x-ms-copy-source"]
        headers = {}
        if self.headers["x-ms-copy-source-authorization"]:
            headers["Authorization"] = \
                self.headers["x-ms-copy-source-authorization"]
        if self.headers["x-ms-source-range"]:
            headers["Range"] = self.headers["x-ms-source-range"]
        if self.headers["x-ms-source-if-match"]:
            headers["If-Match"] = self.headers["x-ms-source-if-match"]
        if len(url) > 2048:
            return self.error(400, "InvalidHeaderValue")
        try:
            with urllib.request.urlopen(urllib.request.Request(
                    url, headers=headers)) as r:
                status, data = r.status, r.read()
        except urllib.error.HTTPError as e:
            status, data = e.code, None
        except OSError:
            status, data = 500, None
        with open(LOG, "a") as f:
            what = "block" if "comp=block" in self.path else "blob"
            f.write(f"{what} {status} {url}\n")
        if data is None:
            self.error(412 if status == 412 else status,
                       "SourceConditionNotMet" if status == 412 else
                       "CannotVerifyCopySource")
        return data

    def from_url(self):
        if int(self.headers.get("Content-Length", "-1")) != 0:
            return self.error(400, "InvalidHeaderValue")
        query = urllib.parse.urlsplit(self.path).query
        if "comp=block&" not in query + "&" and \
                self.headers["x-ms-blob-type"] != "BlockBlob":
            return self.error(400, "InvalidHeaderValue")
        data = self.fetch()
        if data is None:
            return None
        headers = [(k, v) for k, v in self.headers.items()
                   if k.lower() in ("host", "x-ms-version", "x-ms-blob-type",
                                    "if-none-match", "if-match")]
        headers.append(("Content-Length", str(len(data))))
        mark = "&" if query else "?"
        status, said, body = self.ask(self.path + mark + SAS, headers, data)
        return self.answer(status, said, body)

    def handle_any(self):
        if self.headers["x-ms-copy-source"] and self.command == "PUT" and \
                (self.headers["x-ms-blob-type"] or "comp=block" in self.path):
            self.from_url()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(*self.ask(self.path, self.headers.items(), body))

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = handle_any


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(PORT_FILE + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(PORT_FILE + ".new", PORT_FILE)
server.serve_forever()
