"""An agent's parts as far as the opcodes of the catalog ask for them, and a call that keeps what is written."""

import asyncio

import scratch
from gate.files import SmallFiles
from gate.reporting.log import Log

CONFIG = (
    '{"device": "gw-1", "product": "p", "vendor": "v.example", "board": "b", "mqtt": {"host": "10.0.2.2"},'
    ' "payloads": "http://10.0.2.2/", "telemetry_period_s": 60%s}'
)


class Uptime:
    def __init__(self):
        self.now = 0

    def seconds(self):
        return self.now


class Board:
    name = "b"

    def __init__(self, folder):
        self.folder = folder

    @staticmethod
    def link():
        return True

    @staticmethod
    def unique_id():
        return b"\x02id"

    @staticmethod
    def sync(folder):
        pass


class Running:
    sequence = 7
    digest = bytes(32)


class Boot:
    slot = "A"
    trial = False
    outcome = None
    reset_cause = "power-on"
    running = Running

    def __init__(self, board):
        self.board = board


class Link:
    connected = announced = True
    sessions = 1

    def __init__(self):
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1


class Outbox:
    dropped = 0

    def __init__(self):
        self.queue = []
        self.alarms = []

    def save(self):
        pass

    def raise_(self, *given):
        self.alarms.append(given)


class Telemetry:
    @staticmethod
    def keep():
        return True


class Agent:
    settings = None
    restart_wanted = False
    trial_timeout_s = 60
    restart_wait_s = 43200
    own_settings = ()
    release = {"product": "p", "version": "1.2.3"}

    def __init__(self, streams=(), more=""):
        """more: of config.json."""
        folder = scratch.folder()
        scratch.write(folder + "/config.json", (CONFIG % more).encode())
        scratch.write(folder + "/credentials.json", b'{"user": "gw-1", "password": "hush"}')
        self.boot = Boot(Board(folder))
        self.streams = streams
        self.state = SmallFiles(folder + "/state")
        self.uptime = Uptime()
        self.log = Log(SmallFiles(folder + "/log"), self.uptime)
        self.link = Link()
        self.outbox = self.alarms = Outbox()
        self.telemetry = Telemetry()


class Call:
    def __init__(self, agent):
        self.agent = agent
        self.text = ""
        self.pauses = 0

    def write(self, text):
        self.text += text

    def check(self):
        pass

    async def pause(self):
        self.pauses += 1


def ask(agent, function, **given):
    """(answer, what was written)."""
    call = Call(agent)
    answer = function(call, **given)
    if hasattr(answer, "send"):
        answer = asyncio.run(answer)
    return answer, call.text
