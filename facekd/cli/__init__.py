"""The command line: one file per command; each parses, calls a workflow and prints."""

from facekd.cli.main import main

__all__ = ["main"]
