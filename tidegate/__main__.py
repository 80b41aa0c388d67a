"""The program `tidegate`, also as `python -m tidegate`."""

from __future__ import annotations

from tidegate import interrupts


def main() -> None:
    interrupts.end_at_once()
    from tidegate.cli import main as command  # takes its time

    command(prog_name="tidegate")


if __name__ == "__main__":
    main()
