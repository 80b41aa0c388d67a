"""A fleet as a file: fleet.yaml is read, compared with what there is, and made so."""

from tidegate.fleet.apply import Outcome, change_groups, change_settings, check_names
from tidegate.fleet.file import FleetFile, GroupSpec, load_file
from tidegate.fleet.plan import Plan, Setting, make_plan

__all__ = [
    "FleetFile",
    "GroupSpec",
    "Outcome",
    "Plan",
    "Setting",
    "change_groups",
    "change_settings",
    "check_names",
    "load_file",
    "make_plan",
]
