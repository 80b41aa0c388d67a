"""The types of an answer's members. REST: what of an answer no shape names is let pass."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

# Not typing's: pydantic needs this one before Python 3.12.
from typing_extensions import TypedDict as TypedDict

REST = ConfigDict(strict=True, extra="allow")


def _time(text: str) -> str:
    found = datetime.fromisoformat(text)  # ValueError, which pydantic reports
    if found.tzinfo is None:
        raise ValueError("has no time zone")
    try:
        found.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after 9999") from None
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    return text


Text = str | None
Id = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]  # what stands in a path of the next request
Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){1,64}$")]
Proof = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){1,512}$")]
Cti = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, AfterValidator(_time)]
Count = Annotated[int, Field(ge=0)]
Sequence = Annotated[int, Field(ge=0, lt=2**53)]
Base64 = Annotated[str, AfterValidator(_base64)]
Map = dict[str, Any]
