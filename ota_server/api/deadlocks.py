"""Requests whose transaction PostgreSQL ended, because it and another one waited for each other, are carried out again.

Such a transaction has done nothing. Orders of locks that would exclude it everywhere cost more than this: a batch of
births locks devices by their ids, and a change of groups by group.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask
from sqlalchemy.exc import DBAPIError

TRIES = 4
_ENDED = ("40P01", "40001")  # deadlock_detected, serialization_failure
_PAUSE_S = 0.05  # at most, before the first repetition


def init_app(app: Flask) -> None:
    """To be called once all views are registered."""
    for endpoint, view in app.view_functions.items():
        app.view_functions[endpoint] = _again(view)


def _again(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        for tried in range(1, TRIES):
            try:
                return view(*args, **kwargs)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _ENDED:
                    raise
            time.sleep(random.uniform(0, _PAUSE_S * 2**tried))
        return view(*args, **kwargs)

    return run
