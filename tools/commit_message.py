#!/usr/bin/env python3
"""Check a commit message: `path: Imperative sentence.` in at most 72 columns, an empty line, a body that says why.

Git calls it as the hook commit-msg (`make hooks`). By hand: tools/commit_message.py FILE, or --range main..HEAD for
commits that exist. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

COLUMNS = 72
SCISSORS = "# ------------------------ >8 ------------------------"
EXAMPLE = """boards/unix: Lock the folder before flashing.

Two `tidegate flash` at once left a slot half written. The second one
now waits, and says what it waits for."""
# Written by git itself, and rewritten or judged elsewhere.
LEFT_ALONE = ("Merge ", 'Revert "', "fixup! ", "squash! ", "amend! ")
SUBJECT = re.compile(r"(?P<path>[\w.*][\w./*+-]*(?:, [\w.*][\w./*+-]*)*): (?P<sentence>\S.*)")
TRAILER = re.compile(r"[A-Z][\w-]+: \S")

# Imperatives that look like another form.
_IMPERATIVES = {"bring", "ring", "string", "swing", "bed", "embed", "feed", "need", "seed", "shed", "speed", "proceed"}
_IMPERATIVES |= {"exceed", "bias", "focus", "alias", "canvas"}


def faults(message: str) -> list[str]:
    """What is wrong with a message, as sentences; empty if nothing is. Comments of git's are not part of it."""
    text = message.split(SCISSORS)[0]
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    if not lines:
        return ["The message is empty."]
    if lines[0].startswith(LEFT_ALONE):
        return []
    return [*_subject_faults(lines[0]), *_body_faults(lines[1:])]


def _subject_faults(subject: str) -> list[str]:
    found = []
    if len(subject) > COLUMNS:
        found.append(f"The subject has {len(subject)} columns; at most {COLUMNS}.")
    match = SUBJECT.fullmatch(subject)
    if match is None:
        found.append("The subject does not begin with the path that it changes, a colon and a space.")
        return found
    sentence = match["sentence"]
    word = sentence.split()[0].rstrip(".,:;")
    if not sentence[0].isupper():
        found.append(f"The sentence after the path begins with a capital letter, not with {word!r}.")
    if not sentence.endswith(".") or sentence.endswith(".."):
        found.append("The subject ends with a full stop.")
    if not _is_imperative(word.lower()):
        found.append(f"The sentence begins with an imperative such as Add or Fix, not with {word!r}.")
    return found


def _is_imperative(word: str) -> bool:
    """A guess by the ending: adding, added and adds are none. Whatever else it cannot tell, it lets pass."""
    if word in _IMPERATIVES:
        return True
    return not (word.endswith(("ing", "ed")) or word.endswith("s") and not word.endswith(("ss", "us")))


def _body_faults(lines: list[str]) -> list[str]:
    found = []
    if lines and lines[0]:
        found.append("The second line is empty: the subject is one line.")
    body = [line for line in lines if line and not TRAILER.match(line)]
    if not body:
        found.append("There is no body; it says why the change is made.")
    for line in lines:
        # A word that long, such as an address, cannot be wrapped.
        if len(line) > COLUMNS and " " in line.strip():
            found.append(f"A line of the body has {len(line)} columns, more than {COLUMNS}: {line[:40]}...")
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="the file with the message, as git hands it to the hook")
    parser.add_argument("--range", help="check the commits of a range such as main..HEAD")
    options = parser.parse_args()
    if options.range:
        names = _git("rev-list", "--no-merges", options.range).split()
        messages = {name[:10]: _git("show", "--no-patch", "--format=%B", name) for name in names}
    elif options.file:
        messages = {"": options.file.read_text()}
    else:
        parser.error("name a file or a --range")
    wrong = {name: found for name, message in messages.items() if (found := faults(message))}
    for name, found in wrong.items():
        for fault in found:
            print(f"commit message{' of ' if name else ''}{name}: {fault}", file=sys.stderr)
    if wrong:
        print(f"\nA message looks like this:\n\n{EXAMPLE}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
