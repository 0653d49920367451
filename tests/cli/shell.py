"""``sluice`` as somebody types it, without the second that a process would take to start."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from entrypoints.cli.app import app

#: Long enough for HS256; made up.
SECRET = "a secret that only the tests know, 32 bytes and more"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote, and how it ended."""

    status: int
    out: str
    problems: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The table's lines in cells, without their heading."""
        return [line.split() for line in self.out.splitlines()[1:]]


@dataclass(frozen=True, slots=True)
class Shell:
    """A folder for files, and the ``SLUICE_*`` variables of whoever sits there."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *words: str, typed: str | None = None, **variables: str) -> Said:
        """Carry out ``sluice`` with these words, and these variables besides."""
        handlers, level = logging.root.handlers[:], logging.root.level
        others: dict[str, str | None] = {name: None for name in os.environ if name.startswith("SLUICE_")}
        try:
            result = CliRunner().invoke(app, words, input=typed, env=others | {**self.environment, **variables})
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)
