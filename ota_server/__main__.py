"""`python -m ota_server` is `tidegate`, also where the package is not installed."""

from tidegate.cli import main

main(prog_name="tidegate")
