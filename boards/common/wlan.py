"""The network interface of a board: wireless LAN or Ethernet.

The wireless LAN's settings are in network.json: {"ssid": .., "password": .., "country": ..}.
Flashing writes them from `network` in config.json to this file of their own, which no command
shows: the password is a secret. It is read when the board joins, and appears in no message.
"""

import json
import time

import network
from boot.console import say
from micropython import const

_AGAIN_MS = const(20000)  # between two attempts to join


def open_interface(kind, folder):
    """kind: "wlan", "lan", "wiznet5k", or "both": wireless LAN if the settings in folder name one,
    else Ethernet.
    """
    if kind == "wlan" or (kind == "both" and settings(folder)):
        return Wlan(folder)
    return Wired(network.WIZNET5K() if kind == "wiznet5k" else network.LAN())


class Wlan:
    """The station. folder: where the settings are."""

    def __init__(self, folder):
        self._folder = folder
        self._nic = None
        self._tried = 0

    def up(self):
        """Begins to join; returns at once. Harmless when it has joined."""
        if self._nic is None:
            self._nic = network.WLAN(network.STA_IF)
        if not self._nic.isconnected():
            self._join()

    def joined(self):
        """Whether there is an address; if not, joins again every _AGAIN_MS."""
        if self._nic is None:
            return False
        if self._nic.isconnected():
            return True
        # Ticks wrap around in days; a difference below 0 is such a long time.
        if not 0 <= time.ticks_diff(time.ticks_ms(), self._tried) < _AGAIN_MS:
            self._join()
        return False

    def addresses(self):
        return _addresses(self._nic)

    def _join(self):
        self._tried = time.ticks_ms()
        found = settings(self._folder)
        ssid = found.get("ssid")
        if not isinstance(ssid, str) or not 0 < len(ssid) <= 32:
            say("network: no network.ssid in the settings (tidegate flash --config)")
            return
        password = found.get("password")
        try:
            if isinstance(found.get("country"), str):
                network.country(found["country"])
            self._nic.active(True)
            if password:
                self._nic.connect(ssid, password)
            else:
                self._nic.connect(ssid)
        except (OSError, ValueError) as error:  # whose texts do not repeat the arguments
            say("network: joining %s: %s", ssid, type(error).__name__)


class Wired:
    """An Ethernet interface: nic is network.LAN() or network.WIZNET5K()."""

    def __init__(self, nic):
        self._nic = nic

    def up(self):
        """Starts the interface, and DHCP with it; returns at once. Harmless when it is up."""
        self._nic.active(True)

    def joined(self):
        return self._nic.isconnected()

    def addresses(self):
        return _addresses(self._nic)


def settings(folder):
    """The settings of the wireless LAN, a dict; {} if there are none."""
    try:
        with open(folder + "/network.json") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _addresses(nic):
    """For diagnostics."""
    if nic is None:
        return {}
    address, mask, gateway, dns = nic.ifconfig()
    return {"address": address, "mask": mask, "gateway": gateway, "dns": dns}
