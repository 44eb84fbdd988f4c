"""The command line: one file a command; parsing, printing, exit codes, and the joining of rooms. No torch at import."""

from vtok.cli.app import main

__all__ = ["main"]
