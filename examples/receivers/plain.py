"""A receiver with nothing but the standard library: verifies a ring, answers the challenge, drops what it has seen.

RING_SECRET=whsec_… python examples/receivers/plain.py 9000
"""

import hashlib
import hmac
import json
import os
import sys
import time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = [b64decode(text.removeprefix("whsec_")) for text in os.environ["RING_SECRET"].split(",")]
tolerance_seconds = 300
body_bytes_max = 512 * 1024

# In a real receiver this is a table with a unique column: it has to outlive the process.
seen: set[str] = set()


def is_genuine(headers, body: bytes) -> bool:
    """Whether somebody who has one of our secrets signed these very bytes, just now."""
    ring_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > tolerance_seconds:
        return False
    content = f"{ring_id}.{sent_at}.".encode() + body
    expected = [b"v1," + b64encode(hmac.digest(secret, content, hashlib.sha256)) for secret in SECRETS]
    # There may be several, and some of versions that we do not know; compared as bytes, in constant time.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any([hmac.compare_digest(one, other) for one in expected for other in given])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if not 0 <= length <= body_bytes_max:
            return self.answer(413)
        body = self.rfile.read(length)
        if not is_genuine(self.headers, body):
            return self.answer(400)
        ring, ring_id = json.loads(body), self.headers["webhook-id"]
        if ring["type"] == "endpoint.verification":
            return self.answer(200, json.dumps({"challenge": ring["data"]["challenge"]}).encode())
        if ring_id not in seen:
            seen.add(ring_id)
            print(ring["type"], json.dumps(ring["data"]), flush=True)
        self.answer(204)

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """No line for each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
