"""What the service is made of: each part locked with its hashes and in the bill, and none that runs by lying there."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))
#: A tool of the tests, which the image does not have.
KNOWN_TO_RUN_AT_START = {"coverage"}


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """What `make sbom` writes."""
    program = [sys.executable, str(CHECKOUT / "scripts" / "sbom")]
    text = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30).stdout
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_an_exact_version_and_hashes(lock: Path) -> None:
    text = re.sub(r"\\\n", " ", lock.read_text())
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    assert entries
    assert [entry for entry in entries if not re.match(r"[\w.-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("program", ["scripts/setup-venv", "Dockerfile"])
def test_only_what_is_locked_is_installed(program: str) -> None:
    text = re.sub(r"\\\n", " ", (CHECKOUT / program).read_text())
    installing = [line for line in text.splitlines() if re.match(r"(?:RUN )?\S*pip\S* .*\binstall\b", line.strip())]

    # --no-index: from what is in the checkout, or was fetched from the distribution and verified by it.
    assert [line for line in installing if "--require-hashes" not in line and "--no-index" not in line] == []
    assert installing or "setup-venv" in text or "make install" in text


def test_the_bill_is_one_by_its_schema(bill: dict[str, Any]) -> None:
    names = [f"{name}.SNAPSHOT.schema.json" for name in ("bom-1.6", "spdx", "jsf-0.82")]
    schemas = {name: json.loads((files("cyclonedx.schema") / "_res" / name).read_text()) for name in names}
    # They name each other by the address of the first and their own file's name.
    base = schemas[names[0]]["$id"].rpartition("/")[0]
    registry: Registry[Any] = Registry().with_resources(
        (address, Resource.from_contents(schema))
        for name, schema in schemas.items()
        for address in (f"{base}/{name}", name)
    )

    validator = Draft7Validator(schemas[names[0]], registry=registry)

    assert [error.message for error in validator.iter_errors(bill)] == []
    assert list(validator.iter_errors({**bill, "components": [{"type": "library"}]}))


def test_the_bill_lists_what_is_locked_and_what_is_installed(bill: dict[str, Any]) -> None:
    listed = {part["name"]: part for part in bill["components"]}
    asked = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert {re.split(r"[^\w-]", each)[0] for each in asked} <= listed.keys()
    for name, part in listed.items():
        assert part["hashes"]
        if "properties" not in part:
            assert metadata.version(name) == part["version"]


def test_the_same_lock_makes_the_same_bill(bill: dict[str, Any]) -> None:
    program = [sys.executable, str(CHECKOUT / "scripts/sbom"), str(CHECKOUT / "requirements/runtime.txt")]
    again = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30).stdout

    assert json.loads(again) == bill


def _runs(path: Path) -> bool:
    return path.exists() and re.search(r"^import[ \t]", path.read_text(), re.MULTILINE) is not None


def test_no_package_of_the_service_runs_code_when_python_starts(bill: dict[str, Any]) -> None:
    in_service = {part["name"] for part in bill["components"]}
    # A line of such a file that begins with "import" is executed: https://docs.python.org/3/library/site.html
    running = {
        distribution.name
        for distribution in metadata.distributions()
        for path in distribution.files or ()
        if path.suffix == ".pth" and _runs(Path(str(path.locate())))
    }

    assert running & in_service == set()
    assert running <= KNOWN_TO_RUN_AT_START
