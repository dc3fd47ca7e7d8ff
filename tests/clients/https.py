"""A client of the HTTP short connections over TLS, with nothing but Python's own library.

https.py PORT ROOT: logs in, sends, refreshes and logs out over one connection that is kept, and prints what it was told.
"""

import base64
import http.client
import json
import ssl
import sys

port, root = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=root)
context.set_alpn_protocols(["http/1.1"])
connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)


def post(path, token="", msg_id=None, content=b""):
    body = b""
    if msg_id is not None:
        body = json.dumps({"msg_id": msg_id, "bytes": base64.b64encode(content).decode()}).encode()
    connection.request("POST", path, body, {"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    return response, response.read()


response, _ = post("/login", msg_id=3750207756, content=b"\x12\x03zbj\x1a\x01x")
cookie = response.headers["Set-Cookie"]
token = cookie.split(";")[0].removeprefix("token=")
first_socket = connection.sock
message, reply = post("/message", token, 2933023166, b"hello")
refresh, _ = post("/refresh", token)
logout, _ = post("/logout", token)
print(
    json.dumps(
        {
            "login": response.status,
            "secure": "Secure" in cookie,
            "message": message.status,
            "reply": base64.b64decode(json.loads(reply)["bytes"]).decode(),
            "refresh": refresh.status,
            "logout": logout.status,
            "alpn": first_socket.selected_alpn_protocol(),
            "tls": first_socket.version(),
            "kept": connection.sock is first_socket,
        }
    )
)
