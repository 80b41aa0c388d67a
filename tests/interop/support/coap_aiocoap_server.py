"""The resources of ETSI's plugtests on aiocoap, for the device's client to be tried with.

python coap_aiocoap_server.py PORT [ACK_TIMEOUT_S]
"""

from __future__ import annotations

import asyncio
import sys

from aiocoap import Code, Context, Message
from aiocoap.numbers.constants import Reliable, TransportTuning, Unreliable
from aiocoap.resource import ObservableResource, Resource, Site, WKCResource

LARGE = b"".join(b"%03d a line of a large body\n" % n for n in range(60))


class Test(Resource):
    async def render_get(self, request):
        return Message(payload=b"a test", content_format=0)

    async def render_put(self, request):
        return Message(code=Code.CHANGED)

    async def render_post(self, request):
        return Message(code=Code.CREATED, location_path=("location1", "location2", "location3"))

    async def render_delete(self, request):
        return Message(code=Code.DELETED)


class Validate(Resource):
    value = b"the first value"

    def tag(self) -> bytes:
        return b"%08x" % (hash(self.value) & 0xFFFFFFFF)

    async def render_get(self, request):
        if self.tag() in request.opt.etags:
            return Message(code=Code.VALID, etag=self.tag())
        return Message(payload=self.value, etag=self.tag())

    async def render_put(self, request):
        if request.opt.if_match and self.tag() not in request.opt.if_match:
            return Message(code=Code.PRECONDITION_FAILED)
        self.value = request.payload
        return Message(code=Code.CHANGED)


class Create(Resource):
    made = False

    async def render_put(self, request):
        if self.made and request.opt.if_none_match:
            return Message(code=Code.PRECONDITION_FAILED)
        self.made = True
        return Message(code=Code.CREATED)

    async def render_delete(self, request):
        self.made = False
        return Message(code=Code.DELETED)


class Formats(Resource):
    async def render_get(self, request):
        if request.opt.accept == 41:
            return Message(payload=b"<value>1</value>", content_format=41)
        return Message(payload=b"value 1", content_format=0)


class Separate(Resource):
    async def render_get(self, request):
        await asyncio.sleep(0.4)
        return Message(payload=b"it took a while")


class Query(Resource):
    async def render_get(self, request):
        return Message(payload="&".join(request.opt.uri_query).encode())


class LocationQuery(Resource):
    async def render_post(self, request):
        return Message(code=Code.CREATED, location_query=("first=1", "second=2"))


class Large(Resource):
    value = LARGE

    async def render_get(self, request):
        return Message(payload=self.value, etag=b"large", content_format=0)

    async def render_put(self, request):
        self.value = request.payload
        return Message(code=Code.CHANGED)

    async def render_post(self, request):
        self.value = request.payload
        return Message(code=Code.CREATED, location_path=("large-create", "1"))


class LargePost(Resource):
    async def render_post(self, request):
        return Message(code=Code.CHANGED, payload=request.payload.upper())


class Observed(ObservableResource):
    """A number that goes up; its text is repeated to a size."""

    def __init__(self, size: int = 0, kind=Reliable):
        super().__init__()
        self.value = 0
        self.size = size
        self.kind = kind
        self.format = 0
        self.deleted = False

    async def render_get(self, request):
        if self.deleted:
            return Message(code=Code.NOT_FOUND)
        text = b"%d " % self.value
        size = 1 + self.value % 4 * 600 if self.size < 0 else self.size
        whole = text * (size // len(text) + 1)
        if self.format:
            return Message(code=Code.NOT_ACCEPTABLE)
        reply = Message(
            code=Code.CONTENT,
            payload=whole,
            content_format=0,
            max_age=1,
            etag=b"%d" % self.value,
            transport_tuning=self.kind,
        )
        block = request.opt.block2
        # aiocoap leaves the blocks of what is observed to the resource.
        if block or len(whole) > 1024:
            number, exponent = (block.block_number, block.size_exponent) if block else (0, 6)
            return reply._extract_block(number, exponent, 1024)
        return reply

    async def needs_blockwise_assembly(self, request):
        return False

    async def render_put(self, request):
        self.value = int(request.payload)
        self.updated_state()
        return Message(code=Code.CHANGED)

    async def render_delete(self, request):
        self.deleted = True
        self.updated_state(Message(code=Code.NOT_FOUND))
        return Message(code=Code.DELETED)

    def forget(self):
        """Drops the observers without a word, as after a restart."""
        for observation in list(self._observations):
            observation._cancellation_callback()


class Control(Resource):
    def __init__(self, observed: dict[str, Observed]):
        super().__init__()
        self.observed = observed

    async def render_post(self, request):
        word, path = request.payload.decode().split()[:2]
        resource = self.observed[path]
        if word == "tick":
            resource.value += 1
            resource.updated_state()
        elif word == "set":
            resource.value += 1  # without telling
        elif word == "format":
            resource.format = 41
            resource.updated_state(Message(code=Code.NOT_ACCEPTABLE))
        elif word == "again":
            resource.format = 0
            resource.deleted = False
        elif word == "forget":
            resource.forget()
        return Message(code=Code.CHANGED)


class Fresh(Resource):
    """Takes only what echoes its challenge (RFC 9175)."""

    taken = 0

    async def render_post(self, request):
        if request.opt.echo != b"prove it":
            return Message(code=Code.UNAUTHORIZED, echo=b"prove it")
        self.taken += 1
        return Message(code=Code.CHANGED, payload=b"%d" % self.taken)


class Count(Resource):
    """Tells bodies that came once from those that came again."""

    def __init__(self):
        super().__init__()
        self.got: list[bytes] = []

    async def render_post(self, request):
        self.got.append(request.payload)
        return Message(code=Code.CHANGED)

    async def render_get(self, request):
        return Message(payload=b"%d of %d" % (len(set(self.got)), len(self.got)))

    async def render_delete(self, request):
        self.got.clear()
        return Message(code=Code.DELETED)


class Streamed(Resource):
    """A large body, any block of it at any time: aiocoap's own blocks begin at the beginning only."""

    body = bytes(at * 7 & 255 for at in range(100_000))

    async def render_get(self, request):
        block = request.opt.block2
        number, exponent = (block.block_number, block.size_exponent) if block else (0, 6)
        whole = Message(code=Code.CONTENT, payload=self.body, etag=b"streamed")
        return whole._extract_block(number, exponent, 1024)

    async def needs_blockwise_assembly(self, request):
        return False


class StreamedWhole(Resource):
    """The same, by aiocoap's own blocks."""

    async def render_get(self, request):
        return Message(payload=Streamed.body[:20_000], etag=b"whole")


async def main() -> None:
    if len(sys.argv) > 2:
        TransportTuning.ACK_TIMEOUT = float(sys.argv[2])
    site = Site()
    observed = {
        "/obs": Observed(),
        "/obs-non": Observed(kind=Unreliable),
        "/obs-large": Observed(1500),
        "/obs-pumping": Observed(-1),
    }
    resources = {
        "/test": Test(),
        "/validate": Validate(),
        "/create1": Create(),
        "/multi-format": Formats(),
        "/separate": Separate(),
        "/seg1/seg2/seg3": Test(),
        "/query": Query(),
        "/location-query": LocationQuery(),
        "/large": Large(),
        "/large-update": Large(),
        "/large-create": Large(),
        "/large-post": LargePost(),
        "/control": Control(observed),
        "/fresh": Fresh(),
        "/count": Count(),
        "/streamed": Streamed(),
        "/streamed-whole": StreamedWhole(),
        **observed,
    }
    for path, resource in resources.items():
        site.add_resource(path.split("/")[1:], resource)
    site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
    await Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])), transports=["udp6"])
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
