"""The command line: parse, call one function, render. Starts fast: commands are imported when they are used."""

from __future__ import annotations


def main() -> None:
    """The program `holdfast`."""
    import signal

    from holdfast.cli.app import app

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end is handled like Ctrl-C
    app(prog_name="holdfast")
