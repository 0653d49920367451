"""Arguments that several commands take, and how their words are read."""

from typing import Annotated, TypeAlias

import typer

from domain.ids import is_id
from domain.tokens import MAX_TOKENS


def an_id(text: str) -> str:
    """The text itself, if it is an id.

    Raises:
        typer.BadParameter: it is none.
    """
    if not is_id(text):
        raise typer.BadParameter("is no id: letters, digits, '.', '_', '@' and '-', 128 at most")
    return text


def tokens(text: str) -> int:
    """A whole number of tokens, which may be negative.

    Raises:
        typer.BadParameter: it is none, or too large to be kept exactly.
    """
    # int() alone would take '1_000' and ' 5 '.
    number = int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() else None
    if number is None or abs(number) > MAX_TOKENS:
        raise typer.BadParameter("is no whole number of tokens")
    return number


def some(text: str) -> int:
    """A whole number, 1 at least.

    Raises:
        typer.BadParameter: it is none.
    """
    number = tokens(text)
    if number < 1:
        raise typer.BadParameter("must be 1 at least")
    return number


TenantName: TypeAlias = Annotated[str, typer.Argument(metavar="TENANT", parser=an_id, show_default=False)]
GroupName: TypeAlias = Annotated[str, typer.Argument(metavar="GROUP", parser=an_id, show_default=False)]
UserName: TypeAlias = Annotated[str, typer.Argument(metavar="USER", parser=an_id, show_default=False)]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
#: For commands with numbers that may be negative: "-20" is a number then, and no option.
NUMBERS = {"ignore_unknown_options": True}
