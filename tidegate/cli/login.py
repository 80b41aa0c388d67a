"""`tidegate login` and `tidegate logout`: which server commands talk to, and with which token, from now on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from tidegate import user_folder
from tidegate.cli._common import FILE, emit, insecure_option, is_insecure, json_option, say
from tidegate.client import profiles
from tidegate.client.server import Server
from tidegate.client.tokens import check_token, read_token
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@click.command(
    epilog="""\b
Examples:
  tidegate login https://tidegate.acme.example
  tidegate login http://127.0.0.1:8080 --token-file server/admin.token --profile lab"""
)
@click.argument("url", envvar="TIDEGATE_SERVER")
@click.option("--token-file", type=FILE, help="File with the token. Default: it is asked, on a terminal.")
@click.option("--profile", "name", help="Its name. Default: the server's host.")
@insecure_option("the token")
@json_option
def login(url: str, token_file: Path | None, name: str | None, as_json: bool) -> None:
    """Remember the server at URL and a token for it. Commands take them where nothing else is said.

    --server and --token-file, or TIDEGATE_SERVER and TIDEGATE_TOKEN_FILE, come first. A token goes to its own server
    only. It is in your configuration folder, in a file that only you may read; the server is asked whether it knows it.
    """
    name = name or urlsplit(url).netloc
    if not _NAME.fullmatch(name):
        raise TidegateError(
            f"{name!r:.80} is not a name of a profile", "Give --profile NAME of letters, digits, . and -"
        )
    if token_file is not None:
        token = read_token(token_file)
    elif sys.stdin.isatty() and not as_json:
        token = check_token(click.prompt("Token", hide_input=True, err=True), "what was typed")
    else:
        raise TidegateError("there is no terminal to ask for the token at", "Name a file with --token-file")
    with Server(url, token, insecure=is_insecure()) as api:
        try:
            api.groups()
        except ServerError as error:
            if error.status != 403:  # it is known, and may do other things than look
                raise
        profile = profiles.Profile(name, api.url, token)
    profiles.add(profile)
    answer = {"profile": name, "server": profile.server, "file": str(user_folder.path(profiles.FILE))}
    emit(answer, as_json, lambda _: say(f"logged in to {profile.server} as profile {name}, which commands take now"))


@click.command(
    epilog="""\b
Examples:
  tidegate logout
  tidegate logout --profile lab"""
)
@click.option("--profile", "name", help="Which one. Default: the one that commands take.")
@json_option
def logout(name: str | None, as_json: bool) -> None:
    """Forget a profile and its token. The token itself stays valid: `tidegate token revoke` ends it."""
    gone = profiles.remove(name)
    answer = {"profile": gone.name, "server": gone.server}
    emit(answer, as_json, lambda _: say(f"profile {gone.name} of {gone.server} is forgotten"))
