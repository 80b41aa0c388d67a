"""The status page: static files that ask /api/v1/status for everything, so they show what their token may read."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, render_template, request

blueprint = Blueprint("web", __name__, template_folder="templates", static_folder="static", static_url_path="/static")


@blueprint.get("/")
def page() -> str:
    return render_template("status.html")


@blueprint.get("/favicon.ico")
def icon() -> Response:
    return blueprint.send_static_file("icon.svg")


@blueprint.before_request
def whole() -> None:
    """These files are small: whoever wants a part gets the whole (RFC 9110, 14.2)."""
    request.environ.pop("HTTP_RANGE", None)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
