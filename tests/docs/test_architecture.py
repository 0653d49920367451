"""The tree, the contracts and the dependencies are those that are described."""

import re
import tomllib
from typing import Any

from tests.docs.pages import CHECKOUT, codes, page

ARCHITECTURE = page("docs/architecture.md")
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
_PACKAGES = ("domain", "adapters", "config", "entrypoints")


def test_every_module_is_in_the_tree_and_every_entry_exists() -> None:
    described = tree()

    there = {
        str(path.relative_to(CHECKOUT))
        for package in _PACKAGES
        for path in (CHECKOUT / package).rglob("*.py")
        if path.name != "__init__.py"
    }

    assert {name for name in described if name.endswith(".py")} == there
    assert [name for name in described if not (CHECKOUT / name).exists()] == []


def test_every_import_contract_is_described() -> None:
    described = [codes(row["contract"])[0] for row in ARCHITECTURE.rows("contract", "rule")]

    assert described == [contract["id"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]


def test_every_folder_of_tests_is_described() -> None:
    described = {name for row in ARCHITECTURE.section("Tests").rows("folder", "what") for name in codes(row["folder"])}

    there = {f"tests/{path.parent.name}" for path in (CHECKOUT / "tests").glob("*/__init__.py")}

    assert described == there


def test_every_runtime_dependency_has_its_reason() -> None:
    named = [re.match(r"[\w-]+", requirement) for requirement in PROJECT["project"]["dependencies"]]

    described = [row["package"] for row in page("docs/adr/0012-runtime-dependencies.md").rows("package", "for")]

    assert described == [match[0] for match in named if match is not None]


def tree() -> set[str]:
    """The paths in the tree: indentation is depth, and a line may name several files before what it says of them."""
    (drawn,) = ARCHITECTURE.section("The tree").blocks("")
    folders: list[str] = []
    paths: set[str] = set()
    for line in drawn.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth:]
        for word in re.split(r" {2,}", line.strip())[0].split():
            paths.add("/".join([*folders, word.rstrip("/")]))
            if word.endswith("/"):
                folders.append(word.rstrip("/"))
    return paths
