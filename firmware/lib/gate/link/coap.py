"""The device's connection when it is CoAP (docs/coap-uplink.md), with the methods of
gate.link.mqtt.

CoAP has no connection. It has a session with the server, which outlives silence and changed
addresses until the server asks for another; `connected` says that the last message was answered.
"""

import asyncio
import hashlib
from os import urandom

from coap.client import Client, CoapError

from gate import LinkError, console
from gate.clock import const, sleep_ms
from gate.link.coap_mac import Session
from gate.tasks import Job

_ECHO = const(252)
_BLOCK = const(512)  # bytes of a block
_MAX_DOWN = const(2048)  # bytes: the largest envelope
_ANSWER_S = const(20)
_UNANSWERED = const(4)  # messages whose counter is remembered for the next attempt
_PAUSE_S = const(2)  # before it is tried again, doubled each time
_PAUSE_MOST_S = const(120)
_ASKED_MOST_S = const(600)  # what a busy server may ask for
_ALIVE_S = const(300)  # between two signs of life; the server waits for 900 s


class CoapLink:
    """announced: the server has this boot's birth; sessions: how many were begun; joined: the Job
    of announce, when one begins.
    """

    def __init__(self, device, key, host, port, board):
        """device: its id; key: 32 bytes, for its messages; host, port: of the server."""
        self._base = "tg/%s/" % device
        self._key = key
        self._handlers = {}
        self._board = board
        self._birth = None
        self._state = None
        self.joined = Job()
        self._lost = asyncio.Event()
        self._session = None
        self._echo = None  # of the session, until a message under it was answered
        self._unanswered = []  # [digest of path and message, counter]
        self._asked_s = 0  # how long a busy server is to be left alone
        self._tasks = ()
        self._client = Client(host, port, _BLOCK)
        self.announced = False
        self.connected = False
        self.sessions = 0

    def facts(self):
        """The session, for the opcode mqtt."""
        return {"coap": {"connected": self.connected, "sessions": self.sessions}}

    def subscribe(self, handlers):
        """handlers: {name below down/: function(bytes)}, called for each message that comes; must
        be quick. Call it before run().
        """
        self._handlers = handlers

    def introduce(self, birth, state):
        """birth(), state() -> bytes: sent when a session begins."""
        self._birth = birth
        self._state = state

    def refresh(self):
        """Sends state and birth, which have changed, again if there is a connection; also
        what changes while the first birth is on its way.
        """
        if self.connected:
            self.joined.set()

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        """POSTs under the device's up/; raises LinkError. A message that the server calls
        malformed is logged and not sent again.
        """
        if not self._session:
            raise LinkError("no session")
        path = self._base + "up/" + topic
        mark = hashlib.sha256(path.encode() + b"\0" + payload).digest()[:8]
        again = next((entry for entry in self._unanswered if entry[0] == mark), None)
        body, counter = self._session.sign(path, payload, again[1] if again else None)
        if not again:
            self._unanswered = self._unanswered[1 - _UNANSWERED :] + [[mark, counter]]
        options = ((_ECHO, self._echo),) if self._echo else ()
        session = self._session
        try:
            await self._client.post(
                "/" + path, body, options=options, timeout_s=timeout_s or _ANSWER_S
            )
        except CoapError as error:
            if error.code != 400:
                self._failed(error, session)
                raise LinkError(str(error))
            console.error("the server refuses %s: %s", topic, error)
        if session is self._session:
            self._echo = None
            self._unanswered = [entry for entry in self._unanswered if entry[1] != counter]

    async def round_trip(self):
        """Returns when the server has answered a message of this session; raises LinkError."""
        await self.publish("state", self._state())

    async def run(self):
        """The connection itself."""
        self._board.network_up()
        pause = _PAUSE_S
        while True:
            if self._asked_s:
                await self._leave_alone()
            self._lost.clear()
            try:
                if not self._board.link():
                    raise LinkError("the network is down")
                if not self._session:
                    await self._begin()
                await self.round_trip()
            except (CoapError, LinkError, OSError) as error:
                if not self._asked_s:
                    console.info("coap: %s; again in %d s", error, pause)
                    await sleep_ms(pause * 1000)
                    pause = min(2 * pause, _PAUSE_MOST_S)
                continue
            pause = _PAUSE_S
            if not self.connected:
                console.info("coap: the server answers")
                self.connected = True
                self.joined.set()
            self._listen()
            try:
                await asyncio.wait_for(self._lost.wait(), _ALIVE_S)
            except asyncio.TimeoutError:
                pass

    def leave(self):
        """Ends what run() began, once that is cancelled; it may be run again later."""
        self._quiet()
        self._client.close()
        self.announced = False
        self.connected = False

    async def announce(self, beat):
        """The task of `joined`: sends state and birth."""
        try:
            await self.publish("state", self._state())
            beat()
            await self.publish("birth", self._birth())
        except LinkError as error:
            console.info("not announced yet: %s", error)
            await beat.sleep(1)
            if self.connected:
                self.joined.set()
            return
        if not self.announced:
            console.info("connected and announced")
        self.announced = True

    async def _leave_alone(self):
        """Waits for as long as a busy server asked, and up to a quarter more: others wait, too."""
        wait_s = self._asked_s
        self._asked_s = 0
        console.info("coap: the server is busy; again in %d s", wait_s)
        await sleep_ms(wait_s * 1000 + wait_s * urandom(1)[0])

    # ------------------------------------------------------------ the session

    async def _begin(self):
        """Asks for an Echo value and begins a session with it."""
        try:
            await self._client.post("/" + self._base + "up/birth", timeout_s=_ANSWER_S)
        except CoapError as error:
            if not error.echo:
                self._asked_s = min(error.retry_after, _ASKED_MOST_S)
                raise
            self._renew(error.echo)

    def _renew(self, echo):
        self._quiet()
        self._session = Session(self._key, echo)
        self._echo = echo
        self._unanswered = []
        self.announced = False
        self.connected = False
        self.sessions += 1

    def _failed(self, error, session):
        """A message under `session` failed: begins another session, or tries again later."""
        if session is not self._session:
            return
        if error.echo:
            self._renew(error.echo)
        self._asked_s = min(error.retry_after, _ASKED_MOST_S)
        self.connected = False
        self._lost.set()

    # ------------------------------------------------------------ what comes down

    def _quiet(self):
        for task in self._tasks:
            task.cancel()
        self._tasks = ()

    def _listen(self):
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._watch(name, self._session)) for name in self._handlers
            ]

    async def _watch(self, name, session):
        """Observes one resource for as long as the session lasts."""
        path = self._base + "down/" + name
        watch = None
        while session is self._session:
            pause = _PAUSE_S
            try:
                if watch is None:
                    watch = await self._client.observe(
                        "/" + path, session.query(path), None, _MAX_DOWN, _ANSWER_S
                    )
                answer = await watch.next()
                # Empty: there is nothing, or no more. Takers of offers are told.
                if answer.payload or name[:5] == "offer":
                    self._handlers[name](answer.payload)
                continue
            except CoapError as error:
                if error.code == 401:
                    self._failed(error, session)
                elif error.reason != "timeout":
                    console.info("coap: %s: %s", name, error)
                    if watch:
                        watch.close()
                    watch = None
                pause = max(pause, min(error.retry_after, _ASKED_MOST_S))
            await sleep_ms(pause * 1000)
