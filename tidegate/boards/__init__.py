"""Boards: their descriptions in board.toml, and the emulated board (`tidegate.boards.emulator`)."""

from tidegate.boards.board import MICROPYTHON, Board, LoaderRange, load, names
from tidegate.boards.schema import ARCHITECTURES, BoardFileError

__all__ = ["ARCHITECTURES", "MICROPYTHON", "Board", "BoardFileError", "LoaderRange", "load", "names"]
