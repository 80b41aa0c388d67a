"""What people may do: four roles, each a set of the scopes that API tokens have."""

from __future__ import annotations

ROLES = {
    "viewer": ("read",),
    "operator": ("read", "devices", "command", "rollout"),
    "publisher": ("read", "publish", "rollout"),
    "admin": ("admin",),
}  # what the later ones may is not always more


def role_of(scopes: str) -> str:
    """The role of whoever has these scopes, separated by spaces: the last one whose scopes are all among them."""
    held = set(scopes.split())
    if "admin" in held:
        return "admin"
    return next((role for role in ("publisher", "operator", "viewer") if held.issuperset(ROLES[role])), "guest")
