"""Fixtures for tests of the device's libraries against peers that others wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from coap_processes import AtOnce, Serve, serving


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """serve(command): the port of a server that the command, with {port} in it, starts; it ends with the module."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str]) -> int:
            return stack.enter_context(serving(command, tmp_path_factory.mktemp("server") / "output")).port

        yield start


@pytest.fixture(scope="module")
def at_once(request: pytest.FixtureRequest) -> Iterator[AtOnce]:
    """at_once(request.node, run): run(case) for the case of the test that asks, raising what it raised.

    All selected cases of that test were begun with the first: they wait for timers more than they compute. So what
    they share must bear it.
    """
    begun: dict[str, dict[str, Future[None]]] = {}

    with ThreadPoolExecutor(6) as pool:

        def result(item: pytest.Function, run: Callable[[str], None]) -> None:
            if item.originalname not in begun:
                same = [
                    other
                    for other in request.session.items
                    if isinstance(other, pytest.Function)
                    and (other.path, other.originalname) == (item.path, item.originalname)
                ]
                cases = [other.callspec.params["case"] for other in same]
                begun[item.originalname] = {case: pool.submit(run, case) for case in cases}
            begun[item.originalname][item.callspec.params["case"]].result()

        yield result
        pool.shutdown(cancel_futures=True)
