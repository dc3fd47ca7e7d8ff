"""NATS micro services that refuse, fail and answer too much, as nats-py itself does these things. For tests/services.rs."""

import asyncio, sys

import nats
from nats.micro import add_service
from nats.micro.request import ServiceError


async def plain(request):
    await request.respond(b'{"plain": true}')


async def refuse(request):
    raise ServiceError("404", "no such item")


async def fail(request):
    raise RuntimeError("an internal matter")


async def huge(request):
    await request.respond(bytes(10_000_000))


async def main():
    client = await nats.connect(sys.argv[1])
    service = await add_service(client, name="micro", version="1.0.0")
    for handler in [plain, refuse, fail, huge]:
        name = handler.__name__
        await service.add_endpoint(name=name, subject=f"herald-dev.svc.micro.{name}", handler=handler)
    await client.flush()
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
