"""The command line: ``sluice``. One file for each group of commands; what is heavy is imported by whoever needs it."""

from entrypoints.cli.app import main

__all__ = ["main"]
