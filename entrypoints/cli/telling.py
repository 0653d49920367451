"""What commands say: tables for people, plain columns for pipes, JSON for programs. Problems go to standard error."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol


class Step(Protocol):
    """Tells of one more step of something long."""

    def __call__(self) -> None: ...


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def complain(problems: str) -> None:
    sys.stderr.writelines(f"{problem}\n" for problem in problems.splitlines())


def say_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere its cells in columns, so that a program can take them apart."""
    shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, shown)
        return
    widths = [max(map(len, column)) for column in zip(columns, *shown, strict=True)]
    for row in (columns, *shown):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool) -> None:
    """The rows, whole as JSON, or these columns of them as a table."""
    if as_json:
        say_json(rows)
        return
    say_table(columns, [[row.get(column) for column in columns] for row in rows])


@asynccontextmanager
async def progress(what: str) -> AsyncIterator[Step]:
    """A bar on standard error while something long goes on, where that is a terminal; counts what is done."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = (SpinnerColumn(), TextColumn("{task.description} {task.completed}"), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        # Text, as square brackets in a cell are no markup.
        table.add_row(*map(Text, row))
    Console().print(table)
