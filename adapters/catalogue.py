"""The catalogue files, ``providers.toml`` and ``models.toml``, made into the domain's facts."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from domain.chat import FINISH_REASONS
from domain.images import ImageRule
from domain.models import MAX_WEIGHT, Model
from domain.providers import ProviderSpec, Quirks

Table: TypeAlias = dict[str, Any]
T = TypeVar("T", bound=ProviderSpec | Model)

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PROVIDER_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
#: First segments of paths that are the gateway's own.
_RESERVED = frozenset({"v1", "admin", "healthz", "readyz", "metrics"})


class CatalogueError(ValueError):
    """What is wrong with the files: one line for each problem, naming file, table and field. No values: keys hide."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_providers(*paths: Path) -> dict[str, ProviderSpec]:
    """Providers by id. A later file changes fields of an earlier one's tables, or adds tables.

    Raises:
        CatalogueError: all that is wrong with all the files.
    """
    return {spec.id: replace(spec, base_url=spec.base_url.rstrip("/")) for spec in _PROVIDERS.load(paths)}


def load_models(*paths: Path) -> list[Model]:
    """The models, in the order of the files. A later file changes fields of an earlier one's tables, or adds tables.

    Raises:
        CatalogueError: all that is wrong with all the files.
    """
    return _MODELS.load(paths)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """How one kind of table becomes one kind of value.

    ``name`` is the field that holds the table's name, ``renamed`` maps a file's field to the value's, ``nested`` the
    fields that are tables of a class of their own; ``check`` tells what the types cannot.
    """

    made: type[T]
    name: str
    renamed: Mapping[str, str]
    nested: Mapping[str, type[Any]]
    check: Callable[[str, Table], Iterator[str]]

    def load(self, paths: tuple[Path, ...]) -> list[T]:
        problems: list[str] = []
        loaded: list[T] = []
        adapter = TypeAdapter(self.made)
        merged = _merged(paths, problems)
        for name, (table, source) in merged.items():
            wrong = [*self._unknown(table), *self.check(name, table)]
            values = {self.renamed.get(key, key): value for key, value in table.items()}
            try:
                # As JSON, a list may be strict and a tuple all the same; without strict, "5" and true would be numbers.
                text = json.dumps({**values, self.name: name}, default=str)
                loaded.append(adapter.validate_json(text, strict=True))
            except ValidationError as error:
                wrong += self._told(error)
            problems += [f"{source}: [{name}] {problem}" for problem in wrong]
        if problems:
            raise CatalogueError(problems)
        return loaded

    def _unknown(self, table: Table) -> Iterator[str]:
        own = {field.name for field in fields(self.made)} - {self.name, *self.renamed.values()} | self.renamed.keys()
        yield from (f"{key}: there is no such field" for key in sorted(table.keys() - own))
        for key, nested in self.nested.items():
            if isinstance(table.get(key), dict):
                known = {field.name for field in fields(nested)}
                yield from (f"{key}.{inner}: there is no such field" for inner in sorted(table[key].keys() - known))

    def _told(self, error: ValidationError) -> Iterator[str]:
        """pydantic's errors by the file's names, and without their inputs, which may be keys."""
        names = {theirs: own for own, theirs in self.renamed.items()}
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            field, *rest = map(str, detail["loc"])
            place = ".".join([names.get(field, field), *rest])
            yield f"{place}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _wrong_provider(name: str, table: Table) -> Iterator[str]:
    if not _PROVIDER_ID.fullmatch(name) or name in _RESERVED:
        yield "is no id for a provider: lower-case letters, digits, '.', '_' and '-'; not a path of the gateway's own"
    address = table.get("base_url")
    if isinstance(address, str) and not _is_base_url(address):
        yield "base_url: must be an http or https URL without credentials, query or fragment"
    elif isinstance(address, str) and set(_PLACEHOLDER.findall(address)) != _texts(table.get("variables")):
        yield "variables: must name the placeholders of base_url"
    quirks = table.get("quirks")
    prefill = quirks.get("prefill") if isinstance(quirks, dict) else None
    for key in sorted(prefill.keys() - {"message", "body"}) if isinstance(prefill, dict) else ():
        yield f"quirks.prefill.{key}: there is no such field"
    reasons = quirks.get("finish_reasons") if isinstance(quirks, dict) else None
    for theirs, ours in reasons.items() if isinstance(reasons, dict) else ():
        if ours not in FINISH_REASONS:
            yield f"quirks.finish_reasons.{theirs}: must be one of OpenAI's: {', '.join(sorted(FINISH_REASONS))}"


def _wrong_model(name: str, table: Table) -> Iterator[str]:
    for size in ("context_window", "max_output_tokens"):
        if isinstance(table.get(size), int) and table[size] < 1:
            yield f"{size}: must be at least 1"
    weight = table.get("weight")
    if isinstance(weight, int | float) and not 0 <= weight <= MAX_WEIGHT:
        yield f"weight: must be from 0 to {MAX_WEIGHT:,}"


def _texts(value: object) -> set[str]:
    return {text for text in value if isinstance(text, str)} if isinstance(value, list) else set()


def _is_base_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        return False


_PROVIDERS = _Kind(ProviderSpec, "id", {}, {"quirks": Quirks}, _wrong_provider)
_MODELS = _Kind(Model, "name", {"providers": "names"}, {"images": ImageRule}, _wrong_model)


def _merged(paths: tuple[Path, ...], problems: list[str]) -> dict[str, tuple[Table, Path]]:
    """The tables of all files, each with the last file that speaks of it."""
    tables: dict[str, tuple[Table, Path]] = {}
    for path in paths:
        try:
            read = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            problems.append(f"{path}: cannot be read ({type(error).__name__})")
            continue
        for name, table in read.items():
            if isinstance(table, dict):
                before = tables[name][0] if name in tables else {}
                tables[name] = ({**before, **table}, path)
            else:
                problems.append(f"{path}: {name}: there is no such field outside a table")
    return tables
