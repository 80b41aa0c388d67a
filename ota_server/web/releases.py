"""Releases: sizes, patches, who runs them, what they are made of."""

from __future__ import annotations

from flask import Response
from sqlalchemy import func, select

from ota_server.api import context
from ota_server.store import releases
from ota_server.store.models import Device, ReleaseSbom
from ota_server.store.pages import MOST_ID
from ota_server.web import page
from ota_server.web.session import signed_in

_ROWS = 50


@signed_in("read")
def show() -> Response:
    with context.store().read() as session:
        rows = releases.listed(session, _ROWS)
        runs = select(Device.product, Device.sequence, func.count()).where(Device.revoked_at.is_(None))
        running = session.execute(runs.group_by(Device.product, Device.sequence)).all()
        described = session.scalars(select(ReleaseSbom.release_id)).all()
        return page.show(
            "releases.html",
            releases=rows,
            running={(product, sequence): many for product, sequence, many in running},
            described=set(described),
        )


@signed_in("read")
def sbom(product: str, sequence: int) -> Response:
    """The bill of materials of a release, as it was published."""
    with context.store().read() as session:
        row = releases.find(session, product, min(sequence, MOST_ID))
        found = None if row is None else session.get(ReleaseSbom, row.id)
        if found is None or row is None:
            raise page.missing("the release has no bill of materials", "tidegate release sbom makes and sends one")
        name = f"{row.product}-{row.version}.cdx.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(found.document, mimetype="application/vnd.cyclonedx+json", headers=headers)
