"""A fleet as a file: fleet.yaml is read, compared with what there is, and made so."""

from tidegate.fleet.apply import Outcome, change_groups, change_settings, check_names
from tidegate.fleet.file import FleetFile, GroupSpec, load_file
from tidegate.fleet.plan import Plan, Setting, make_plan
from tidegate.fleet.rollouts import RolloutPlan, check_starts, plan_rollouts
from tidegate.fleet.rollouts import carry_out as change_rollouts

__all__ = [
    "FleetFile",
    "GroupSpec",
    "Outcome",
    "Plan",
    "RolloutPlan",
    "Setting",
    "change_groups",
    "change_rollouts",
    "change_settings",
    "check_names",
    "check_starts",
    "load_file",
    "make_plan",
    "plan_rollouts",
]
