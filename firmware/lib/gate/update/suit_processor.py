"""The SUIT command interpreter, for the profile in docs/wire.cddl (draft-ietf-suit-manifest
section 6).

A section runs as a generator that yields a Fetch where bytes must be fetched, so that the same
interpreter decides before anything is fetched, and continues after a fetch that took an hour or a
reset. Commands, parameters and components beyond the profile are refused, never skipped.
"""

import cbor

from gate.clock import const
from gate.update import failures
from gate.update.failures import Failure
from gate.update.suit_envelope import decode, sha256_of

# commands
_VENDOR = const(1)
_CLASS = const(2)
_MATCH = const(3)
_INDEX = const(12)
_ABORT = const(14)
_TRY_EACH = const(15)
_OVERRIDE = const(20)
_FETCH = const(21)

# parameters
_P_VENDOR = const(1)
_P_CLASS = const(2)
_P_DIGEST = const(3)
_P_SIZE = const(14)
_P_URI = const(21)
_P_ARGUMENTS = const(25)

_COMPONENTS = const(2)
_SHARED = const(4)
_MAX_COMPONENTS = const(4)
_PAYLOADS = "p/"  # folder of the payloads, relative to the configured server
_MAX_NESTING = const(2)  # try-each in try-each
_MAX_BRANCHES = const(9)
_MAX_URI = const(128)
_MAX_POLICY = const(15)


class ConditionFailed(Exception):
    """A condition does not hold; in a try-each the next branch is tried. failure: the Failure to
    raise if no branch is left.
    """

    def __init__(self, failure):
        super().__init__(failure.detail)
        self.failure = failure


class Fetch:
    """Bytes to fetch into a component. component: its id; uri: relative address; arguments: bytes
    or None; digest, size: of the component's content afterwards.
    """

    def __init__(self, component, parameters):
        self.component = component
        self.uri = parameters.get(_P_URI)
        self.arguments = parameters.get(_P_ARGUMENTS)
        self.digest = parameters.get(_P_DIGEST)
        self.size = parameters.get(_P_SIZE)

    def check_address(self, name):
        """Raises Failure unless the payload's address is the folder of payloads and `name`."""
        if self.uri != _PAYLOADS + name:
            raise Failure(
                failures.UNSUPPORTED, "a payload is named by its digest", failures.SUIT_PARAMETER
            )


class Processor:
    """Runs the sections of one manifest against a target.

    The target describes this device: vendor_id, class_id (bytes); components: list of component
    ids, each a list of bytes; matches(component, digest, size) -> bool compares a component's
    content.
    """

    def __init__(self, manifest, target):
        self._target = target
        self._manifest = manifest
        common = decode(manifest.common, "common")
        if not isinstance(common, dict) or set(common) != {_COMPONENTS, _SHARED}:
            raise Failure(failures.MALFORMED, "common holds components and a shared sequence")
        self._components = common[_COMPONENTS]
        if (
            not isinstance(self._components, list)
            or not 1 <= len(self._components) <= _MAX_COMPONENTS
        ):
            raise Failure(failures.MALFORMED, "1 to %d components" % _MAX_COMPONENTS)
        for component in self._components:
            if component not in target.components:
                raise Failure(failures.UNSUPPORTED, "unknown component", failures.SUIT_COMPONENT)
        self._shared = common[_SHARED]
        self._fetched = []

    def install(self):
        """A generator of Fetch; raises Failure. Carry out each Fetch before resuming it."""
        return self._section(self._manifest.install, "install")

    def validate(self):
        """Runs the validate section; raises Failure if the new content is wrong."""
        for _ in self._section(self._manifest.validate, "validate"):
            raise Failure(failures.UNSUPPORTED, "validate may not fetch", failures.SUIT_COMMAND)

    def _section(self, data, name):
        # Every section starts from cleared parameters and the shared sequence.
        self._index = 0
        self._parameters = [{} for _ in self._components]
        self._identity = 0  # bit 0: vendor checked, bit 1: class checked
        try:
            for _ in self._run(self._shared, "shared sequence", 0):
                raise Failure(
                    failures.UNSUPPORTED,
                    "the shared sequence may not fetch",
                    failures.SUIT_COMMAND,
                )
            if self._identity != 3:
                raise Failure(
                    failures.UNSUPPORTED, "the shared sequence must check vendor and class"
                )
            yield from self._run(data, name, 0)
        except ConditionFailed as error:
            raise error.failure

    def _run(self, data, name, nesting):
        if not isinstance(data, bytes):
            raise Failure(failures.MALFORMED, name + " is not a byte string")
        sequence = decode(data, name)
        if not isinstance(sequence, list) or len(sequence) % 2:
            raise Failure(failures.MALFORMED, name + " is not pairs of command and argument")
        for at in range(0, len(sequence), 2):
            command, argument = sequence[at], sequence[at + 1]
            if not cbor.is_uint(command):  # true == 1 in Python
                raise Failure(failures.UNSUPPORTED, "command %r" % command, failures.SUIT_COMMAND)
            if command == _TRY_EACH:
                yield from self._try_each(argument, nesting)
            elif command == _FETCH:
                _check_policy(argument)
                yield self._fetch()
            elif command == _INDEX:
                self._set_index(argument)
            elif command == _OVERRIDE:
                self._override(argument)
            else:
                _check_policy(argument)
                self._command(command)

    def _try_each(self, branches, nesting):
        if (
            not isinstance(branches, list)
            or not 1 <= len(branches) <= _MAX_BRANCHES
            or nesting >= _MAX_NESTING
        ):
            raise Failure(failures.MALFORMED, "try-each takes 1 to %d branches" % _MAX_BRANCHES)
        failed = None
        for branch in branches:
            if branch is None and failed:  # "else do nothing"
                return
            try:
                yield from self._run(branch, "branch", nesting + 1)
                return
            except ConditionFailed as error:
                failed = error
        if failed.failure.code == failures.IMAGE_DIGEST:
            raise ConditionFailed(
                Failure(failures.NO_BRANCH, "no payload fits the image that runs")
            )
        raise failed

    def _fetch(self):
        component = self._components[self._index]
        if self._index in self._fetched:
            raise Failure(
                failures.UNSUPPORTED, "a component is fetched twice", failures.SUIT_COMMAND
            )
        fetch = Fetch(component, self._parameters[self._index])
        if fetch.uri is None or fetch.digest is None or fetch.size is None:
            raise Failure(
                failures.MALFORMED, "fetch without uri, digest or size", failures.SUIT_PARAMETER
            )
        self._fetched.append(self._index)
        return fetch

    def _set_index(self, argument):
        if not cbor.is_uint(argument) or argument >= len(self._components):
            raise Failure(
                failures.UNSUPPORTED, "component index %r" % argument, failures.SUIT_COMPONENT
            )
        self._index = argument

    def _override(self, argument):
        if not isinstance(argument, dict):
            raise Failure(failures.MALFORMED, "parameters are a map")
        for key, value in argument.items():
            self._parameters[self._index][key] = self._parameter(key, value)

    def _parameter(self, key, value):
        """The checked value of a parameter; its SHA-256 for a digest."""
        if key in (_P_VENDOR, _P_CLASS):
            good = isinstance(value, bytes) and len(value) == 16
        elif key == _P_DIGEST:
            return sha256_of(value, "image digest")
        elif key == _P_SIZE:
            good = cbor.is_uint(value)
        elif key == _P_URI:
            good = isinstance(value, str) and 0 < len(value) <= _MAX_URI
        elif key == _P_ARGUMENTS:
            good = isinstance(value, bytes)
        else:
            raise Failure(failures.UNSUPPORTED, "parameter %r" % key, failures.SUIT_PARAMETER)
        if not good:
            raise Failure(failures.MALFORMED, "parameter %r" % key, failures.SUIT_PARAMETER)
        return value

    def _command(self, command):
        """A command whose argument is a reporting policy and that has no step of its own."""
        parameters = self._parameters[self._index]
        if command == _VENDOR:
            if parameters.get(_P_VENDOR) != self._target.vendor_id:
                raise ConditionFailed(Failure(failures.WRONG_BOARD, "made for another vendor"))
            self._identity |= 1
        elif command == _CLASS:
            if parameters.get(_P_CLASS) != self._target.class_id:
                raise ConditionFailed(
                    Failure(failures.WRONG_BOARD, "made for another product or board")
                )
            self._identity |= 2
        elif command == _MATCH:
            digest, size = parameters.get(_P_DIGEST), parameters.get(_P_SIZE)
            if digest is None or size is None:
                raise Failure(
                    failures.MALFORMED,
                    "image-match without digest or size",
                    failures.SUIT_PARAMETER,
                )
            if not self._target.matches(self._components[self._index], digest, size):
                raise ConditionFailed(
                    Failure(failures.IMAGE_DIGEST, "the image is not the announced one")
                )
        elif command == _ABORT:
            raise ConditionFailed(Failure(failures.NO_BRANCH, "the manifest aborts here"))
        else:
            raise Failure(failures.UNSUPPORTED, "command %r" % command, failures.SUIT_COMMAND)


def _check_policy(value):
    if not cbor.is_uint(value) or value > _MAX_POLICY:
        raise Failure(failures.MALFORMED, "reporting policy %r" % value)
