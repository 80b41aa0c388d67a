"""The page for people: a view a module, rendered here; scripts only keep it current."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, request

from ota_server.errors import Problem
from ota_server.web import alarms, audit, device, devices, oidc, overview, page, releases, rollouts, sign_in

blueprint = Blueprint("web", __name__, template_folder="templates", static_folder="static", static_url_path="/static")

blueprint.add_url_rule("/", view_func=overview.show, endpoint="overview")
blueprint.add_url_rule("/devices", view_func=devices.show, endpoint="devices")
blueprint.add_url_rule("/devices/<name>", view_func=device.show, endpoint="device")
blueprint.add_url_rule("/releases", view_func=releases.show, endpoint="releases")
blueprint.add_url_rule("/releases/<product>/<int:sequence>/sbom", view_func=releases.sbom, endpoint="sbom")
blueprint.add_url_rule("/rollouts", view_func=rollouts.listed, endpoint="rollouts")
blueprint.add_url_rule("/rollouts/<product>/<version>", view_func=rollouts.show, endpoint="rollout")
blueprint.add_url_rule(
    "/rollouts/<product>/<version>/<act>", view_func=rollouts.steer, endpoint="steer", methods=["POST"]
)
blueprint.add_url_rule("/alarms", view_func=alarms.show, endpoint="alarms")
blueprint.add_url_rule("/alarms/acknowledge", view_func=alarms.acknowledge, endpoint="acknowledge", methods=["POST"])
blueprint.add_url_rule("/alarms/mute", view_func=alarms.mute, endpoint="mute", methods=["POST"])
blueprint.add_url_rule("/alarms/unmute", view_func=alarms.unmute, endpoint="unmute", methods=["POST"])
blueprint.add_url_rule("/audit", view_func=audit.show, endpoint="audit")
blueprint.add_url_rule("/sign-in", view_func=sign_in.show, endpoint="sign_in")
blueprint.add_url_rule("/sign-in", view_func=sign_in.with_token, endpoint="with_token", methods=["POST"])
blueprint.add_url_rule("/sign-in/oidc", view_func=oidc.start, endpoint="oidc")
blueprint.add_url_rule("/sign-in/oidc/back", view_func=oidc.back, endpoint="oidc_back")
blueprint.add_url_rule("/sign-out", view_func=sign_in.sign_out, endpoint="sign_out", methods=["POST"])


blueprint.register_error_handler(Problem, page.failed)


@blueprint.get("/favicon.ico")
def icon() -> Response:
    return blueprint.send_static_file("icon.svg")


@blueprint.before_request
def whole() -> None:
    """These files are small: whoever wants a part gets the whole (RFC 9110, 14.2)."""
    request.environ.pop("HTTP_RANGE", None)


def init_app(app: Flask) -> None:
    app.extensions["sign_in_limit"] = sign_in.make_limit()
    app.extensions["oidc"], app.extensions["oidc_metadata"] = oidc.load(app.extensions["config"].data), {}
    page.init_app(app)
    app.register_blueprint(blueprint)
