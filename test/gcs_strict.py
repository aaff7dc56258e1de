#!/usr/bin/env python3
"""gcs_strict: Google Cloud Storage's JSON API on loopback, as documented.

    gcs_strict.py PORT [--break BYTES] [--auth SECONDS] [--revoke SECONDS]
        [--rate N] [--hurt N] [--signer EMAIL=PUBLIC_KEY_FILE]

For tests, beside fake-gcs-server, in the places where that one does not do
what the service documents: conditions on media GET, rewrite, delete and
compose are honoured (412), a session of a resumable upload tells how far it
is (308 and Range), rewrites go on by tokens, pages count prefixes too, and
an unknown object's media is a sentence, not JSON.  Objects are in memory.

--break BYTES   a connection that brings bytes of a resumable upload is cut
                after that many; what came is kept in multiples of 256 KiB
--auth SECONDS  requests need a bearer token; /token and the metadata
                server's path give one that is good for so long, and for a
                second more, lest a busy machine be the judge
--revoke SECS   when bytes of a resumable upload have come, all tokens older
                than this are at their end, so that one ends in the middle
--rate N        no more than N objects' media are given a second
--hurt N        every Nth request is answered 503, 429 or not at all, or is
                done and its answer lost, made a 500, cut in half, or late
--signer ...    a service account and its key: URLs that it has signed ("V4
                signing process") get an object, by the XML API; the canonical
                request is made anew, by the documentation, and openssl
                verifies

/set?auth=SECONDS&... sets these anew (break, auth, revoke, rate).
/counts tells how many tokens were issued, how many requests were refused for
want of a good one, and how many of these were of a resumable upload's.
"""
import argparse
import base64
import calendar
import hashlib
import http.server
import io
import json
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse

GRAIN = 256 * 1024
CRC_MAX = 64 * 1024         # bytes: more would take this language too long

lock = threading.RLock()
buckets = {}                # name -> {object name -> Object}
sessions = {}               # upload id -> Session
rewrites = {}               # token -> (source, generation, done bytes)
tokens = {}                 # token -> [when it was made, when it ends]
counts = {"issued": 0, "refused": 0, "refused_in_upload": 0}
media_at = [0.0]            # when the next media may be given, with --rate
counter = [int(time.time() * 1e6)]
requests = [0]
options = None

table = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    table.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


class Object:
    def __init__(self, name, data, meta):
        counter[0] += 1
        self.name, self.data, self.generation = name, data, counter[0]
        self.time = time.time()
        self.metadata = meta.get("metadata")
        self.crc = meta.get("crc32c")
        if len(data) <= CRC_MAX:
            self.crc = crc32c(data)

    def resource(self, bucket):
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.time))
        when += ".%03dZ" % (self.time % 1 * 1000)
        o = {"kind": "storage#object", "bucket": bucket, "name": self.name,
             "generation": str(self.generation), "metageneration": "1",
             "size": str(len(self.data)), "timeCreated": when,
             "updated": when, "storageClass": "STANDARD"}
        if self.crc:
            o["crc32c"] = self.crc
        if self.metadata:
            o["metadata"] = self.metadata
        return o


class Session:
    def __init__(self, bucket, meta, query):
        self.bucket, self.meta, self.query = bucket, meta, query
        self.data = bytearray()
        self.done = None


class Fail(Exception):
    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


def not_met():
    return Fail(412, "conditionNotMet", "At least one of the pre-conditions "
                "you specified did not hold.")


def condition(query, name, have):
    want = query.get(name)
    if want is not None and int(want) != have:
        raise not_met()


def bucket_of(name):
    if name not in buckets:
        raise Fail(404, "notFound", "The specified bucket does not exist.")
    return buckets[name]


def object_of(bucket, name, generation=None):
    o = bucket_of(bucket).get(name)
    if o is None or (generation and int(generation) != o.generation):
        raise Fail(404, "notFound", "No such object: %s/%s" % (bucket, name))
    return o


def create(bucket, name, data, meta, query):
    have = bucket_of(bucket).get(name)
    condition(query, "ifGenerationMatch", have.generation if have else 0)
    if not name or "\n" in name or "\r" in name or \
            len(name.encode()) > 1024:
        raise Fail(400, "invalid", "Invalid object name")
    o = Object(name, bytes(data), meta)
    if meta.get("crc32c") and o.crc != meta["crc32c"]:
        raise Fail(400, "invalid", "Provided CRC32C doesn't match calculated")
    buckets[bucket][name] = o
    return o


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass

    # --- answers ---

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value, status=200, headers=()):
        self.answer(status, json.dumps(value).encode(),
                    [("Content-Type", "application/json"), *headers])

    def body(self):
        n = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(n)
        if len(data) < n:
            raise ConnectionError
        return data

    def json_body(self):
        return json.loads(self.body() or b"{}")

    # --- requests ---

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, True))
        self.parts = [urllib.parse.unquote(p) for p in url.path.split("/")]
        with lock:
            requests[0] += 1
            n, m = divmod(requests[0], options.hurt or 1 << 62)
        if len(url.path) > 1 and options.hurt and m == 0:
            self.hurt(url.path, n)
        else:
            self.do_it(url.path)

    def do_it(self, path):
        try:
            if options.signer and "X-Goog-Signature" in self.query:
                self.signed(path)
            elif not self.tokens(path):
                self.route(path)
        except Fail as e:
            self.fail(e)
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def hurt(self, path, n):
        """Each of the ways in its turn."""
        way = n % 7
        if way < 3:
            self.body()
            if way == 0:
                self.fail(Fail(503, "backendError", "Backend Error"))
            elif way == 1:
                self.fail(Fail(429, "rateLimitExceeded", "Slow down"))
            self.close_connection = True
            return
        wfile, self.wfile = self.wfile, io.BytesIO()
        self.do_it(path)
        said, self.wfile = self.wfile.getvalue(), wfile
        if way == 3:
            self.fail(Fail(500, "backendError", "Backend Error"))
        elif way == 4:
            self.wfile.write(said[:len(said) // 2])
        elif way == 5:
            time.sleep(0.3)
            self.wfile.write(said[:len(said) // 2])
            time.sleep(0.1)
            self.wfile.write(said[len(said) // 2:])
            return
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

    def fail(self, e):
        if self.query.get("alt") == "media":
            self.answer(e.status, e.message.encode(),
                        [("Content-Type", "text/html")])
            return
        self.answer_json({"error": {
            "code": e.status, "message": e.message,
            "errors": [{"reason": e.reason, "domain": "global",
                        "message": e.message}]}}, e.status)

    def tokens(self, path):
        if path == "/counts":
            self.answer_json(counts)
            return True
        if path == "/set":
            for name, value in self.query.items():
                setattr(options, "cut" if name == "break" else name,
                        (int if name == "break" else float)(value))
            self.answer_json({})
            return True
        if path == "/token" or path.startswith("/computeMetadata/"):
            self.body()
            with lock:
                counts["issued"] += 1
                token = "gcs-t0ken-s3cr3t-%d" % counts["issued"]
                now = time.time()
                tokens[token] = [now, now + (options.auth or 3600) + 1]
            self.answer_json({"access_token": token, "token_type": "Bearer",
                              "expires_in": int(options.auth or 3600)})
            return True
        if options.auth and len(path) > 1:
            have = self.headers.get("Authorization", "")
            if tokens.get(have[7:], [0, 0])[1] < time.time():
                self.body()
                with lock:
                    counts["refused"] += 1
                    counts["refused_in_upload"] += "upload_id" in self.query
                raise Fail(401, "authError", "Invalid Credentials")
        return False

    def revoke(self):
        with lock:
            for token in tokens.values():
                if time.time() - token[0] >= options.revoke:
                    token[1] = 0

    def route(self, path):
        p = self.parts
        if path.startswith("/upload/storage/v1/b/"):
            self.upload(p[5])
        elif path in ("/", "/storage/v1/b") and self.command == "GET":
            self.answer_json({})
        elif path == "/storage/v1/b":
            with lock:
                buckets.setdefault(self.json_body()["name"], {})
            self.answer_json({})
        elif len(p) == 5:
            bucket_of(p[4])
            self.answer_json({"name": p[4], "storageClass": "STANDARD"})
        elif len(p) == 6:
            self.list(p[4])
        elif len(p) == 7:
            self.object(p[4], p[6])
        elif p[7] == "compose":
            self.compose(p[4], p[6])
        elif p[7] == "rewriteTo":
            self.rewrite(p[4], p[6], p[9], p[11])
        else:
            raise Fail(404, "notFound", "Not Found")

    # --- objects ---

    def object(self, bucket, name):
        q = self.query
        with lock:
            o = object_of(bucket, name, q.get("generation"))
            condition(q, "ifGenerationMatch", o.generation)
            if self.command == "DELETE":
                del buckets[bucket][name]
        if self.command == "DELETE":
            self.answer(204)
        elif q.get("alt") == "media":
            self.media(o)
        else:
            self.answer_json(o.resource(bucket))

    def media(self, o):
        if options.rate:
            with lock:
                media_at[0] = max(media_at[0], time.time()) + 1 / options.rate
                wait = media_at[0] - time.time()
            time.sleep(wait)
        head = [("x-goog-generation", str(o.generation)),
                ("x-goog-stored-content-length", str(len(o.data))),
                ("Last-Modified", self.date_time_string(int(o.time)))]
        if o.crc:
            head.append(("x-goog-hash", "crc32c=" + o.crc))
        m = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range") or "")
        if not m:
            self.answer(200, o.data, head)
            return
        first = int(m[1])
        last = min(int(m[2] or 1 << 62), len(o.data) - 1)
        if first > last:
            raise Fail(416, "requestedRangeNotSatisfiable", "Request range "
                       "not satisfiable")
        head.append(("Content-Range", "bytes %d-%d/%d" % (first, last,
                                                          len(o.data))))
        self.answer(206, o.data[first:last + 1], head)

    def list(self, bucket):
        q = self.query
        prefix, delim = q.get("prefix", ""), q.get("delimiter")
        most = min(int(q.get("maxResults", 1000)), 1000)
        after = base64.b64decode(q["pageToken"]).decode() \
            if "pageToken" in q else ""
        with lock:
            objects = sorted(bucket_of(bucket).values(),
                             key=lambda o: o.name.encode())
        items, prefixes, n, last, more = [], [], 0, "", False
        for o in objects:
            if not o.name.startswith(prefix) or \
                    o.name.encode() < q.get("startOffset", "").encode():
                continue
            cut = o.name.find(delim, len(prefix)) if delim else -1
            entry = o.name if cut < 0 else o.name[:cut + len(delim)]
            if entry == last or entry.encode() <= after.encode():
                continue
            if n == most:
                more = True
                break
            n, last = n + 1, entry
            if cut < 0:
                items.append(o.resource(bucket))
            else:
                prefixes.append(entry)
        answer = {"kind": "storage#objects"}
        if items:
            answer["items"] = items
        if prefixes:
            answer["prefixes"] = prefixes
        if more:
            answer["nextPageToken"] = \
                base64.b64encode(last.encode()).decode()
        self.answer_json(answer)

    def compose(self, bucket, name):
        q = self.json_body()
        with lock:
            sources = q["sourceObjects"]
            if not 1 <= len(sources) <= 32:
                raise Fail(400, "invalid", "1 to 32 sources are needed")
            data = b"".join(object_of(bucket, s["name"],
                                      s.get("generation")).data
                            for s in sources)
            o = create(bucket, name, data, q.get("destination", {}),
                       self.query)
        self.answer_json(o.resource(bucket))

    def rewrite(self, bucket, name, to_bucket, to_name):
        q = self.query
        self.body()
        with lock:
            o = object_of(bucket, name, q.get("sourceGeneration"))
            condition(q, "ifSourceGenerationMatch", o.generation)
            done = 0
            if "rewriteToken" in q:
                source, generation, done = rewrites.get(
                    q["rewriteToken"], (None, 0, 0))
                if source != (bucket, name) or generation != o.generation:
                    raise Fail(400, "invalid", "Invalid rewrite token")
            done += int(q.get("maxBytesRewrittenPerCall", 1 << 62))
            answer = {"kind": "storage#rewriteResponse",
                      "objectSize": str(len(o.data)),
                      "totalBytesRewritten": str(min(done, len(o.data))),
                      "done": done >= len(o.data)}
            if answer["done"]:
                new = create(to_bucket, to_name, o.data,
                             {"crc32c": o.crc, "metadata": o.metadata}, q)
                answer["resource"] = new.resource(to_bucket)
            else:
                token = "rewrite-%d" % len(rewrites)
                rewrites[token] = ((bucket, name), o.generation, done)
                answer["rewriteToken"] = token
        self.answer_json(answer)

    # --- signed URLs ---

    def signed(self, path):
        """GET /BUCKET/OBJECT?X-Goog-..."""
        try:
            self.check_signature(path)
            self.query["alt"] = "media"
            self.object(self.parts[1], "/".join(self.parts[2:]))
        except Fail as e:
            self.answer(e.status, b"<?xml version='1.0'?><Error><Code>%s"
                        b"</Code></Error>" % e.reason.encode(),
                        [("Content-Type", "application/xml")])

    def check_signature(self, path):
        q = self.query
        denied = Fail(403, "SignatureDoesNotMatch", "")
        who, day, _, rest = q["X-Goog-Credential"].split("/", 3)
        email, key = options.signer.split("=", 1)
        when = calendar.timegm(time.strptime(q["X-Goog-Date"],
                                             "%Y%m%dT%H%M%SZ"))
        if self.command != "GET" or rest != "storage/goog4_request" or \
                who != email or day != q["X-Goog-Date"][:8] or \
                q["X-Goog-Algorithm"] != "GOOG4-RSA-SHA256":
            raise denied
        if not 1 <= int(q["X-Goog-Expires"]) <= 604800 or \
                not when - 900 < time.time() < when + int(q["X-Goog-Expires"]):
            raise Fail(400, "ExpiredToken", "")
        names = q["X-Goog-SignedHeaders"].split(";")
        if "host" not in names or names != sorted(names):
            raise denied

        def code(text, safe):
            return urllib.parse.quote(text, safe=safe + "-_.~")

        # Of the bytes of its values, not as they happened to be written.
        canonical = "\n".join([
            "GET", code(urllib.parse.unquote(path), "/"),
            "&".join(sorted(code(k, "") + "=" + code(v, "")
                            for k, v in q.items()
                            if k != "X-Goog-Signature")),
            "".join("%s:%s\n" % (n, self.headers[n].strip())
                    for n in names), ";".join(names), "UNSIGNED-PAYLOAD"])
        text = "\n".join(["GOOG4-RSA-SHA256", q["X-Goog-Date"],
                          q["X-Goog-Credential"].split("/", 1)[1],
                          hashlib.sha256(canonical.encode()).hexdigest()])
        with tempfile.NamedTemporaryFile() as f:
            f.write(bytes.fromhex(q["X-Goog-Signature"]))
            f.flush()
            done = subprocess.run(["openssl", "dgst", "-sha256", "-verify",
                                   key, "-signature", f.name],
                                  input=text.encode(),
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            raise denied

    # --- uploads ---

    def upload(self, bucket):
        q = self.query
        if "upload_id" in q:
            self.session(q["upload_id"])
        elif q.get("uploadType") == "multipart":
            self.multipart(bucket)
        elif q.get("uploadType") == "resumable":
            meta = self.json_body()
            with lock:
                have = bucket_of(bucket).get(meta["name"])
                condition(q, "ifGenerationMatch",
                          have.generation if have else 0)
                upload_id = "upload-%d" % len(sessions)
                sessions[upload_id] = Session(bucket, meta, q)
            # The host is one that only the service knows itself by.
            self.answer(200, headers=[("Location", "https://example.invalid"
                        "/upload/storage/v1/b/%s/o?uploadType=resumable"
                        "&upload_id=%s" % (bucket, upload_id))])
        else:
            data = self.body()
            with lock:
                o = create(bucket, q["name"], data, {}, q)
            self.answer_json(o.resource(bucket))

    def multipart(self, bucket):
        data = self.body()
        mark = re.search("boundary=(\\S+)", self.headers["Content-Type"])[1]
        mark = b"--" + mark.strip('"').encode()
        head = data.index(b"\r\n\r\n") + 4
        end = data.index(b"\r\n" + mark, head)
        meta = json.loads(data[head:end])
        head = data.index(b"\r\n\r\n", end) + 4
        if not data.endswith(b"\r\n" + mark + b"--\r\n"):
            raise Fail(400, "invalid", "Malformed multipart body.")
        content = data[head:len(data) - len(mark) - 6]
        with lock:
            o = create(bucket, meta["name"], content, meta, self.query)
        self.answer_json(o.resource(bucket))

    def session(self, upload_id):
        with lock:
            u = sessions.get(upload_id)
        if self.command == "DELETE":
            with lock:
                sessions.pop(upload_id, None)
            self.answer(499)
            return
        if u is None:
            self.body()
            raise Fail(410, "gone", "The upload session is gone.")
        m = re.match(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)$",
                     self.headers["Content-Range"])
        if u.done is None and m[1] is not None:
            self.take(u, int(m[1]), int(m[2]) + 1)
        elif u.done is None and int(m[3]) == 0:
            self.body()
        if u.done is None and len(u.data) == int(m[3]):
            with lock:
                u.done = create(u.bucket, u.meta["name"], u.data, u.meta,
                                u.query)
        if u.done is not None:
            self.answer_json(u.done.resource(u.bucket))
        else:
            self.answer(308, headers=[("Range", "bytes=0-%d" %
                        (len(u.data) - 1))] if u.data else [])

    def take(self, u, first, end):
        """The bytes [first, end), as far as they come."""
        if first != len(u.data):
            self.body()
            raise Fail(400, "invalid", "Invalid request: not the next byte")
        most = options.cut or 1 << 62
        while first < end:
            n = min(end - first, 1 << 20, most)
            data = self.rfile.read(n)
            if options.revoke and first > 0:
                self.revoke()
            u.data += data
            first += len(data)
            most -= len(data)
            if len(data) < n or (most == 0 and first < end):
                del u.data[len(u.data) // GRAIN * GRAIN:]
                raise ConnectionError


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--break", type=int, dest="cut", default=0)
    parser.add_argument("--auth", type=float, default=0)
    parser.add_argument("--revoke", type=float, default=0)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--signer")
    parser.add_argument("--hurt", type=int, default=0)
    options = parser.parse_args()
    http.server.ThreadingHTTPServer.request_queue_size = 64
    http.server.ThreadingHTTPServer(("127.0.0.1", options.port),
                                    Handler).serve_forever()


main()
