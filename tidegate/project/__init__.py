"""A project: a folder of a user's own with a tidegate.toml, whose application is made into gateways."""

from tidegate.project.file import FILE, Project, load
from tidegate.project.find import find_project, find_sources, loader_sources, product_here, sources_in

__all__ = ["FILE", "Project", "find_project", "find_sources", "load", "loader_sources", "product_here", "sources_in"]
