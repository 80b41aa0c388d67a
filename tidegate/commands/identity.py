"""Whether a device that the server shows is the one that a person named, and whether the nonce is that device's own.

The server is believed no more than by a device. What decides is what this machine knows (`known_devices`) and what the
device signed (`tidegate.wire.proofs`). An old proof of the same device passes here: it names the nonce of a boot that
is over, and the device refuses a command for that itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tidegate import names
from tidegate.commands.known_devices import KnownDevice, KnownDevices, now
from tidegate.errors import Refused, TidegateError
from tidegate.wire import proofs

_LOOK = "Nothing was signed. See what is known here: tidegate device known list"


class NotProven(TidegateError):
    """The device is known to sign its births, and has not signed this one (yet)."""


def refuse_to_ask(question: str, remedy: str, first_use: bool) -> bool:
    """In place of a person, where there is none."""
    raise TidegateError(question, remedy)


class Identities:
    """Judges devices of one server.

    ask(question, remedy, whether it is about something not known before): a person's answer, or TidegateError where
    nobody can be asked; note(sentence): what a person
    should know; unsigned: whether a birth that is not signed counts for a device that signs its births.
    """

    def __init__(
        self,
        known: KnownDevices,
        ask: Callable[[str, str, bool], bool] = refuse_to_ask,
        note: Callable[[str], None] = lambda sentence: None,
        unsigned: bool = False,
    ) -> None:
        self.known = known
        self._ask = ask
        self._note = note
        self._unsigned = unsigned

    def check(self, word: str, shown: Mapping[str, Any]) -> KnownDevice:
        """The device that `word` (an id or a name) stands for, if it is the one the server shows.

        Raises NotProven if its birth should be signed and is not, TidegateError for anything else that is wrong. What
        is learned is kept; names and keys only where a person said so, or the id itself says which key it has.
        """
        device, name = shown["id"], shown.get("name")
        if not names.DEVICE_ID.fits(device):
            raise TidegateError(f"the server shows {word} as {device!r:.60}, which is not a device's id", _LOOK)
        self._refuse_two_meanings(word)
        if device != word:
            self._refuse_two_meanings(device)
        before = self.known.find(word)
        by_id = self.known.by_id(device)
        if before is not None and before.id is not None and before.id != device:
            return self._moved(word, before, shown)
        proof = self._proof(shown, by_id)
        if word == device or (before is not None and before.id == device):
            return self._keep(by_id or KnownDevice(self.known.server, device, first_seen=now()), proof, shown)
        if proofs.is_thumbprint(word):
            raise TidegateError(f"{word} was named, and the server shows {device}", _LOOK)
        if name != word:
            raise TidegateError(f"{word} was named, and the server shows {device}, called {name or 'nothing'}", _LOOK)
        if before is not None:  # a claim made here waits for it
            self._claimed(before, device, by_id, proof)
        else:
            self._first_use(word, device, by_id)
        entry = replace(by_id or KnownDevice(self.known.server, device, first_seen=now()), name=word)
        return self._keep(entry, proof, shown, changed=True)

    def check_member(self, shown: Mapping[str, Any]) -> KnownDevice:
        """The same for a device that nobody named, such as a member of a group: its name must not be another's."""
        for name in (shown.get("name"), shown["id"]):
            other = self.known.by_name(name) if isinstance(name, str) else None
            if other is not None and other.id not in (None, shown["id"]):
                raise TidegateError(f"the server calls {shown['id']} {name}, which is {other.id} here", _LOOK)
        return self.check(shown["id"], shown)

    # ------------------------------------------------------------ names

    def _refuse_two_meanings(self, word: str) -> None:
        """A server may make a device whose id is the name of another one."""
        named = self.known.by_name(word)
        if named is not None and named.id not in (None, word) and self.known.by_id(word) is not None:
            raise TidegateError(
                f"{word} is the name of {named.id} here, and the id of another device",
                f"Name it by its id, or: tidegate device known forget {word}",
            )

    def _moved(self, word: str, before: KnownDevice, shown: Mapping[str, Any]) -> KnownDevice:
        """Another device than the one that is known: only a person can say that this is meant."""
        device = shown["id"]
        what = f"{word} is device {before.id} here since {before.first_seen}, and the server shows {device}"
        if word == before.id or shown.get("name") != word:
            raise TidegateError(what, _LOOK)
        by_id = self.known.by_id(device)
        proof = self._proof(shown, by_id)
        remedy = f"If the name was given to another device: tidegate device known forget {word}, and name it again"
        if not self._ask(f"{what}. Is {word} that other device from now on?", remedy, False):
            raise TidegateError(what, _LOOK)
        entry = replace(by_id or KnownDevice(self.known.server, device, first_seen=now()), name=word)
        return self._keep(entry, proof, shown, changed=True)

    def _first_use(self, word: str, device: str, by_id: KnownDevice | None) -> None:
        known = "" if by_id is None else f", known here as {by_id.called}" if by_id.name else ", known here by its id"
        question = f"{word} is named here for the first time; the server says it is device {device}{known}"
        remedy = (
            f"Compare it with the board's console, then: tidegate device known add {word} {device}, "
            "or trust the server this once with --trust-first-use"
        )
        if not self._ask(f"{question}. Is that right?", remedy, True):
            raise TidegateError(question, _LOOK)

    def _claimed(
        self, waiting: KnownDevice, device: str, by_id: KnownDevice | None, proof: proofs.BirthProof | None
    ) -> None:
        """A claim for this name was made here: the first board that comes with a key of its own is taken for it."""
        if by_id is not None and by_id.name is not None:
            what = (
                f"{waiting.name} was claimed for a new board, and the server shows {device}, here called {by_id.name}"
            )
            raise TidegateError(what, _LOOK)
        if not proofs.is_thumbprint(device):
            self._first_use(str(waiting.name), device, by_id)
        elif proof is None and not self._unsigned:
            raise NotProven(
                f"{device}, which the server shows as {waiting.name}, has not signed its birth",
                "Wait until it has; for a board with an older image add --accept-unsigned",
            )
        else:
            self._note(f"{waiting.name} is device {device} from now on, by claim {waiting.claim}")

    # ------------------------------------------------------------ keys and nonces

    def _proof(self, shown: Mapping[str, Any], by_id: KnownDevice | None) -> proofs.BirthProof | None:
        """The verified proof that this nonce is the device's; None if there is none, and none is to be expected."""
        device, text, nonce = shown["id"], shown.get("birth_proof"), shown.get("nonce")
        key = None if by_id is None else by_id.key
        if text is None or not nonce:
            if key is not None and nonce and not self._unsigned:
                raise NotProven(
                    f"{device} signs its births, and the server shows one without a signature",
                    "If it runs an older image now, which does not sign: add --accept-unsigned",
                )
            return None
        try:
            found = proofs.open_birth(bytes.fromhex(text))
        except (Refused, ValueError, TypeError) as error:
            what = f"the server shows a birth of {device} that the device did not sign: {error}"
            raise TidegateError(what, _LOOK) from None
        if found.device != device:
            raise TidegateError(f"the server shows a birth of {device} that {found.device} signed", _LOOK)
        if found.nonce.hex() != nonce:
            raise TidegateError(f"the server shows a nonce of {device} that the device did not sign", _LOOK)
        if key is not None and found.public.hex() != key:
            raise TidegateError(
                f"the key of {device} has changed: it was {key}, and now is {found.public.hex()}",
                f"If the board was wiped or replaced: tidegate device known forget {device}",
            )
        return found

    def _keep(
        self, entry: KnownDevice, proof: proofs.BirthProof | None, shown: Mapping[str, Any], changed: bool = False
    ) -> KnownDevice:
        """The entry with what was learned, in the file if it is new."""
        device = str(entry.id)
        is_new = self.known.by_id(device) is None
        learned = entry
        if proof is not None and entry.key is None and self._takes_key(device, proof, is_new):
            learned = replace(entry, key=proof.public.hex())
        elif proof is None and is_new and shown.get("nonce"):
            self._note(_unproven(device, shown))
        if is_new or changed or learned != entry:
            try:
                self.known.put(learned)
            except TidegateError as error:
                if changed:  # what a name stands for must be kept; of an id there is nothing that must
                    raise
                self._note(f"{error.message}. {error.remedy}.")
        return learned

    def _takes_key(self, device: str, proof: proofs.BirthProof, is_new: bool) -> bool:
        """Whether the key in a proof is the device's: its id says so, or a person does."""
        if proofs.is_thumbprint(device):
            return True
        before = "for the first time" if is_new else "and had none before"
        question = f"{device} shows the key {proof.public.hex()}, {before}"
        try:
            return self._ask(f"{question}. Is it its own?", "", True)
        except TidegateError:
            self._note(f"{question}; it is not kept, as nobody could be asked (--trust-first-use)")
            return False


def _unproven(device: str, shown: Mapping[str, Any]) -> str:
    """What cannot be known of a device that signs nothing."""
    if shown.get("key") is None and not proofs.is_thumbprint(device):
        return (
            f"{device} has no key of its own: commands are for this id and no other, but its nonce and its answers are "
            "the server's word"
        )
    return f"{device} does not sign its births (yet): its nonce and its answers are the server's word"
