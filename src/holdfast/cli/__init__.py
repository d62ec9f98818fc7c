"""The command line: parse, call one function, render. Starts fast: commands are imported when they are used."""

from __future__ import annotations


def main() -> None:
    """The program `holdfast`."""
    from holdfast.cli.app import app

    app(prog_name="holdfast")
