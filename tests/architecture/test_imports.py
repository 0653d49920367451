"""The domain stands on the standard library and on itself. A list of forbidden packages would never be complete."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOMAIN = sorted((CHECKOUT / "domain").rglob("*.py"))


def imported(source: Path) -> Iterator[str]:
    """The top-level package of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "domain" if node.level else str(node.module).partition(".")[0]


@pytest.mark.parametrize("source", DOMAIN, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_domain_imports_the_standard_library_and_itself(source: Path) -> None:
    strangers = set(imported(source)) - sys.stdlib_module_names - {"domain"}

    assert strangers == set()


def test_there_is_a_domain_to_look_at() -> None:
    assert len(DOMAIN) > 10
