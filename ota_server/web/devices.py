"""The list of devices: search, filter, sort, pages."""

from __future__ import annotations

from flask import Response, request
from sqlalchemy import select

from ota_server.api import context
from ota_server.errors import Invalid
from ota_server.fleet import device_list, standing
from ota_server.store import now_ms
from ota_server.store.models import Device, Group
from ota_server.web import page
from ota_server.web.session import signed_in

_WORD = 64
_PAGES = 100_000


@signed_in("read")
def show() -> Response:
    words = {name: request.args.get(name, "").strip()[:_WORD] for name in
             ("search", "standing", "group", "board", "version", "product", "sort")}  # fmt: skip
    words["sort"] = words["sort"] or "trouble"
    if words["sort"].lstrip("-") not in device_list.SORTS:
        raise Invalid("invalid-parameter", "sort is by none of these", f"Sorts are {', '.join(device_list.SORTS)}")
    if "\0" in "".join(words.values()):
        raise Invalid("invalid-parameter", "no device has such a name", "Correct the address")
    query = device_list.Query(**words, page=page.number("page", 1, _PAGES))
    with context.store().read() as session:
        found = device_list.find(session, query, now_ms())
        pages = max(1, -(-found.many // device_list.ROWS))
        return page.show(
            "devices.html",
            query=query,
            found=found,
            pages=pages,
            first=(query.page - 1) * device_list.ROWS + 1,
            words=standing.WORDS,
            groups=session.scalars(select(Group.name).order_by(Group.name).limit(500)).all(),
            boards=session.scalars(select(Device.board).distinct().order_by(Device.board)).all(),
            filtered=any(words[name] for name in words if name != "sort"),
        )
