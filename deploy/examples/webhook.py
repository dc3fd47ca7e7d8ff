"""A receiver of Herald's webhooks, with nothing but Python's own library: it checks signatures, drops what it has seen, and
prints each event.

    python3 deploy/examples/webhook.py 8080 the-secret-of-the-configuration
"""

import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A request that was recorded must not be good for ever.
OLDEST = 300
# What is kept of ids; a real receiver keeps them with what it does, for as long as events are kept.
REMEMBERED = 100_000

seen = {}


def is_signed(signature, body, secret):
    """Whether any `v1` fits and `t` is not old."""
    parts = [part.partition("=")[::2] for part in (signature or "").split(",")]
    times = [value for name, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isdecimal() or abs(time.time() - int(times[0])) > OLDEST:
        return False
    expected = hmac.new(secret.encode(), times[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    fits = [hmac.compare_digest(expected.encode(), value.encode()) for name, value in parts if name == "v1"]
    return any(fits)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_signed(self.headers["Herald-Signature"], body, self.server.secret):
            self.answer(401)
            return
        for event in json.loads(body)["events"]:
            if event["id"] not in seen:
                print(json.dumps(event), flush=True)
            seen[event["id"]] = True
        while len(seen) > REMEMBERED:
            del seen[next(iter(seen))]
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    server.secret = sys.argv[2]
    print(json.dumps({"listening": server.server_port}), flush=True)
    server.serve_forever()
