"""The status page, and one a device: they ask /api/v1 for everything, so they show what their token may read."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, abort, render_template, request

from ota_server.store.timeline import KINDS
from tidegate.names import DEVICE

blueprint = Blueprint("web", __name__, template_folder="templates", static_folder="static", static_url_path="/static")


@blueprint.get("/")
def page() -> str:
    return render_template("status.html")


@blueprint.get("/devices/<device>")
def device_page(device: str) -> str:
    """The page of a device, by its id or name; whether there is one only who has a token hears."""
    if not DEVICE.fits(device):
        abort(404)
    return render_template("device.html", device=device, kinds=KINDS)


@blueprint.get("/favicon.ico")
def icon() -> Response:
    return blueprint.send_static_file("icon.svg")


@blueprint.before_request
def whole() -> None:
    """These files are small: whoever wants a part gets the whole (RFC 9110, 14.2)."""
    request.environ.pop("HTTP_RANGE", None)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
