"""What the code says of codes and headers, read from its syntax: a code that no class has is still found."""

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from domain.errors import SluiceError
from entrypoints.http import parsing
from tests.docs.pages import CHECKOUT

#: Where errors are made.
_FOLDERS = ("domain", "entrypoints/http", "adapters")
_HTTP = "entrypoints/http"
#: Below it, what is not for the surfaces' callers.
_ADMIN = "entrypoints/http/admin"


def subclasses(base: type[SluiceError] = SluiceError) -> Iterator[type[SluiceError]]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def codes_in_use() -> set[str]:
    """Codes of classes, codes given to errors that take one, and those that are put together of two parts."""
    own = {each.code for each in subclasses() if each.__module__.startswith(("domain.", "entrypoints."))}
    given = {code for tree in _trees(*_FOLDERS) for code in _codes_given(tree)}
    return own | given | _composed_codes() | {code for code, _ in parsing._LENGTHS.values()}


def literals() -> set[str]:
    """Every string that an error's code could come from."""
    written = {text for tree in _trees(*_FOLDERS) for node in ast.walk(tree) for text in _text(node)}
    return written | _composed_codes()


def actions() -> set[str]:
    """Everything in the domain that looks like an action of the audit: ``tenant.create``."""
    texts = {text for tree in _trees("domain/administration") for node in ast.walk(tree) for text in _text(node)}
    return {text for text in texts if re.fullmatch(r"[a-z]+\.[a-z]+", text)}


def http_refusals(folder: str = _HTTP) -> dict[str, int | None]:
    """Code and status of every HttpRefusal that is made; None where the status is a variable."""
    found: dict[str, int | None] = {}
    for call in _calls("HttpRefusal", folder):
        given = {word.arg: word.value for word in call.keywords}
        (code,), status = _text(given["code"]), given["status"]
        found[code] = int(str(status.value)) if isinstance(status, ast.Constant) else None
    return found


def headers_sent() -> set[str]:
    """Keys of dictionaries and items that look like a header's name, no file's; of an f-string, what it begins with."""
    nodes = [node for tree in _surfaces() for node in ast.walk(tree)]
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    keys += [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    names = {text for key in keys for text in _text(key.values[0] if isinstance(key, ast.JoinedStr) else key)}
    return {
        name.lower()
        for name in names
        if ("-" in name.strip("-") and "." not in name) or name in ("Connection", "Allow")
    }


def headers_read() -> set[str]:
    """What is asked of a request's headers."""
    asked = [call for name in ("get", "getall") for tree in _surfaces() for call in _calls_in(tree, name)]
    return {
        text
        for call in asked
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value).endswith("headers")
        for text in _text(call.args[0])
    }


def _composed_codes() -> set[str]:
    suffixes = {suffix for suffix, _ in parsing._BOUNDS.values()}
    return {f"{number}_{suffix}" for number, suffix in itertools.product(("integer", "decimal"), suffixes)}


def _codes_given(tree: ast.AST) -> Iterator[str]:
    """Every ``code="..."`` of a call, and every default of a parameter of that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from _text(node.value)
        if isinstance(node, ast.FunctionDef):
            for name, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                if name.arg == "code":
                    yield from _text(default)


def _calls(name: str, folder: str) -> Iterator[ast.Call]:
    """Calls of a function or method of this name, in the files of a folder."""
    for tree in _trees(folder):
        yield from _calls_in(tree, name)


def _calls_in(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def _surfaces() -> list[ast.Module]:
    """Where HTTP is spoken with the surfaces' callers."""
    return [tree for tree in _trees(_HTTP) if tree not in _trees(_ADMIN)]


@cache
def _trees(*folders: str) -> tuple[ast.Module, ...]:
    return tuple(_tree(path) for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py")))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _text(node: ast.AST | None) -> Iterator[str]:
    """The text of a literal; nothing of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
