#!/usr/bin/env python3
"""A backend for Herald in Python: the services auth, lobby and echo, as NATS micro services.

    pip install nats-py
    python3 backend.py [nats://127.0.0.1:4222] [herald-dev]

The second argument is the prefix: `prefix` of Herald's [nats] table, herald-dev with --dev.
"""

import asyncio, json, sys
from urllib.parse import unquote

import nats
from nats.micro import add_service
from nats.micro.request import ServiceError

URL = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
PREFIX = sys.argv[2] if len(sys.argv) > 2 else "herald-dev"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
MY_DATA_REPLY = "2091323817"  # the msg_id of cmsg.SRespMyData
JSON = {"Content-Type": "application/json"}


def fields(data):
    """The texts in a protobuf message, by field number; other kinds of fields end it."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 != 2:
            break
        length = varint()
        found[tag >> 3] = data[at : at + length].decode()
        at += length
    return found


def text_field(number, text):
    """A protobuf field with a text of up to 127 bytes."""
    data = text.encode()
    return bytes([number << 3 | 2, len(data)]) + data


async def auth(request):
    """Login: cmsg.CReqLogin has the account in field 2 and the password in field 3."""
    login = fields(request.data)
    account = login.get(2, "")
    good = account in PASSWORDS and PASSWORDS[account] == login.get(3)
    answer = {"user": account, "account": account, "groups": ["lobby"], "broadcast": False, "err_code": 0 if good else 1}
    await request.respond(json.dumps(answer).encode(), headers=JSON)


async def my_data(request):
    """cmsg.CReqMyData: who asks stands in the headers, and Herald has verified it."""
    user = unquote(request.headers.get("Herald-User", ""))[:30]
    await request.respond(text_field(1, f"the data of {user}"), headers={"Herald-Msg-Id": MY_DATA_REPLY})


async def roll(request):
    """{"call":{"service":"lobby","method":"roll","body":{"dice":2}}}: an error of 400 to 499 is the client's to read."""
    dice = json.loads(request.data).get("dice", 1)
    if dice not in range(1, 11):
        raise ServiceError("422", "dice must be 1 to 10")
    await request.respond(json.dumps({"sum": sum(1 + n % 6 for n in range(dice))}).encode(), headers=JSON)


async def echo(request):
    await request.respond(request.data, headers={"Content-Type": request.headers["Content-Type"]})


async def main():
    client = await nats.connect(URL)
    service = await add_service(client, name="herald-example", version="1.0.0")
    for name, handler in [("auth", auth), ("lobby", my_data), ("lobby.roll", roll), ("echo", echo)]:
        await service.add_endpoint(name=name.replace(".", "-"), subject=f"{PREFIX}.svc.{name}", handler=handler)
    await client.flush()
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
