"""Every command, argument, option and exit status is documented, in the words of its own help."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer.main

from entrypoints.cli.app import app
from entrypoints.cli.exits import Exit
from tests.docs.pages import only_code, page

CLI = page("docs/cli.md")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its help has it: how it is called, what it does, and its options with theirs."""

    called: str
    does: str
    options: tuple[tuple[str, str], ...]


def commands(group: Any = None, name: str = "sluice") -> Iterator[Command]:
    """All commands, in the order of the help."""
    group = group or typer.main.get_command(app)
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield _described(f"{name} {word}", command)


def _described(name: str, command: Any) -> Command:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = [each.metavar or each.name.upper() for each in arguments]
    shown = [word if each.required else f"[{word}]" for word, each in zip(words, arguments, strict=True)]
    told = tuple((", ".join(f"`{word}`" for word in sorted(each.opts, key=len)), each.help) for each in options)
    return Command(" ".join([name, *shown]), " ".join((command.help or "").split("\n\n")[0].split()), told)


def test_every_command_is_documented_in_the_words_of_its_help() -> None:
    rows = CLI.section("Commands").rows("command", "what it does")

    documented = [(only_code(row["command"]), row["what it does"]) for row in rows]

    assert documented == [(command.called, command.does) for command in commands()]


def test_every_option_is_documented_in_the_words_of_its_help() -> None:
    rows = CLI.section("Options").rows("command", "option", "meaning")

    documented = [(only_code(row["command"]), row["option"], row["meaning"]) for row in rows]

    assert documented == [
        (" ".join(word for word in command.called.split() if word.islower()), option, meaning)
        for command in commands()
        for option, meaning in command.options
        if option != "`--json`"
    ]


def test_every_exit_status_is_documented() -> None:
    rows = CLI.section("Exit statuses").rows("status", "meaning")

    assert [int(row["status"]) for row in rows] == [status.value for status in Exit]
