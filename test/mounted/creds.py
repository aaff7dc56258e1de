"""creds.py: a stand-in for those who issue AWS credentials: the instance
metadata service (version 2 alone), the container's service, and STS for web
identities.

    creds.py STATE ADDRESS:PORT...

Gives the keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to whoever asks
as they should.  Each request is a line in STATE/asked; what STATE/mode says,
where that is there, is done instead: a status, or "hang".
"""
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

ROLES = "/latest/meta-data/iam/security-credentials/"
state = sys.argv[1]


def expires():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 900))


def keys():
    return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def ill(self):
        with open(os.path.join(state, "asked"), "a") as out:
            out.write(f"{self.command} {self.headers['Host']}{self.path}\n")
        try:
            mode = open(os.path.join(state, "mode")).read().strip()
        except FileNotFoundError:
            return False
        if mode == "hang":
            time.sleep(60)
        self.answer(500 if mode == "hang" else int(mode))
        return True

    def credentials(self):
        key, secret = keys()
        self.answer(200, json.dumps({"Code": "Success", "AccessKeyId": key,
            "SecretAccessKey": secret, "Expiration": expires()}))

    def do_PUT(self):
        if self.ill():
            return
        good = self.path == "/latest/api/token" and \
            self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200, "the-session") if good else self.answer(400)

    def do_GET(self):
        if self.ill():
            return
        if self.path == "/v2/credentials/1":
            if self.headers["Authorization"] == "Basic dGFzaw==":
                self.credentials()
            else:
                self.answer(403, '{"code":"AccessDenied"}')
        elif self.headers["X-aws-ec2-metadata-token"] != "the-session":
            self.answer(401)
        elif self.path == ROLES:
            self.answer(200, "a-role")
        elif self.path == ROLES + "a-role":
            self.credentials()
        else:
            self.answer(404)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        form = urllib.parse.parse_qs(self.rfile.read(length).decode())
        if self.ill():
            return
        if form.get("Action") != ["AssumeRoleWithWebIdentity"] or \
                form.get("WebIdentityToken") != ["the.pod's/token"] or \
                form.get("RoleArn") != ["arn:aws:iam::1:role/pod"]:
            self.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code>"
                "<Message>no</Message></Error></ErrorResponse>")
            return
        key, secret = keys()
        self.answer(200, "<R><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}"
            f"</SecretAccessKey><Expiration>{expires()}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></R>")


threads = []
for arg in sys.argv[2:]:
    host, _, port = arg.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    threads.append(threading.Thread(target=server.serve_forever))
    threads[-1].start()
