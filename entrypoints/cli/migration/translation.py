"""What a translation gives: files for Sluice, and what was left behind with the reason."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from domain.chat import JsonObject


@dataclass(frozen=True, slots=True)
class Left:
    """A place in the other configuration that has no counterpart, and what to do about it."""

    where: str
    why: str


@dataclass(slots=True)
class Translation:
    """Settings, providers and tenants in Sluice's form; ``left`` is what could not be translated."""

    settings: JsonObject = field(default_factory=dict)
    providers: JsonObject = field(default_factory=dict)
    tenants: JsonObject = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    def leave(self, where: str, why: str) -> None:
        self.left.append(Left(where, why))

    def write(self, folder: Path) -> list[Path]:
        """Write the files, and what they are.

        Raises:
            OSError: they cannot be written, or one of them is there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        settings = dict(self.settings)
        if self.providers:
            settings["providers"] = str((folder / "providers.toml").resolve())
        files = {"sluice.toml": settings, "providers.toml": self.providers, "tenants.toml": self.tenants}
        written = []
        for name, content in files.items():
            if content or name == "sluice.toml":
                # Whoever can read the file has the keys in it.
                path = folder / name
                with path.open("x", encoding="utf-8") as file:
                    path.chmod(0o600)
                    file.write(to_toml(content))
                written.append(path)
        return written


def to_toml(tables: Mapping[str, object]) -> str:
    """A TOML document of these values, which may be texts, numbers, booleans, lists and tables. https://toml.io/en/v1.0.0"""
    return "\n".join(_lines((), tables)) + "\n"


def _lines(place: tuple[str, ...], table: Mapping[str, object]) -> Iterator[str]:
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if place and (plain or not table):
        yield f"[{'.'.join(map(_text, place))}]"
    yield from (f"{_text(name)} = {_value(value)}" for name, value in plain.items())
    if plain:
        yield ""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _lines((*place, name), value)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(name)} = {_value(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but that TOML wants DEL escaped, too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
