"""Commands and programs that a reader may copy: valid, and for this gateway."""

import json
import re
import shlex
import subprocess
from urllib.parse import urlsplit

import pytest
from sanic.exceptions import NotFound

from adapters.documents import parse_tenant
from adapters.redis import keys
from config.composition import build
from config.settings import Settings
from domain.ids import is_id
from domain.tenants import Limits
from entrypoints.http import group_surface, provider_surface, tenant_surface
from entrypoints.http.assembly import admin_routes
from entrypoints.http.parsing import Fields, parse
from tests.docs.app import serves
from tests.docs.pages import CHECKOUT, PAGES, page

TEXTS = [page(str(path.relative_to(CHECKOUT))) for path in PAGES]
SHELL = [(text.path.name, block) for text in TEXTS for block in text.blocks("sh")]
PYTHON = [(text.path.name, block) for text in TEXTS for block in text.blocks("python")]
CURLS = [
    command
    for _, block in SHELL
    for command in re.findall(r"curl .*?(?=\||$)", block.replace("\\\n", " "), re.MULTILINE)
]
#: Those of the admin API, whose paths begin with a variable.
ADMIN_CURLS = [command for command in CURLS if "$ADMIN/" in command]
SETS = [shlex.split(line) for _, block in SHELL for line in block.splitlines() if line.startswith("redis-cli SET")]


def test_there_is_something_to_copy() -> None:
    assert len(CURLS) >= 6
    assert len(SETS) >= 2
    assert PYTHON


@pytest.mark.parametrize(("name", "block"), SHELL, ids=[name for name, _ in SHELL])
def test_shell_examples_are_valid(name: str, block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True, timeout=10)


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=[name for name, _ in PYTHON])
def test_python_examples_are_valid(name: str, block: str) -> None:
    compile(block, name, "exec")


@pytest.mark.parametrize("command", [command for command in CURLS if command not in ADMIN_CURLS])
def test_a_curl_command_is_for_a_path_that_exists_and_sends_what_it_takes(command: str) -> None:
    words = shlex.split(command.rstrip(") "))
    path = urlsplit(next(word for word in words if word.startswith("http"))).path
    body = words[words.index("-d") + 1] if "-d" in words else None

    serves("POST" if body is not None or "POST" in words else "GET", path)

    if body is not None:
        parse(json.loads(body), fields_of(path))


@pytest.mark.parametrize("command", ADMIN_CURLS)
def test_a_curl_command_for_the_admin_api_is_for_a_route_of_it(command: str) -> None:
    words = shlex.split(command.rstrip(") "))
    path = next(word for word in words if word.startswith("$ADMIN")).removeprefix("$ADMIN").partition("?")[0]
    method = words[words.index("-X") + 1] if "-X" in words else "GET"

    (_,) = [
        route
        for route in admin_routes(build(Settings()))
        if route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path)
    ]

    assert "-d" not in words or json.loads(words[words.index("-d") + 1])


def test_a_path_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(NotFound):
        serves("GET", "/v2/chat/completions")


@pytest.mark.parametrize(("_", "__", "key", "value"), SETS, ids=[words[2] for words in SETS])
def test_what_is_set_in_redis_is_what_the_gateway_reads(_: str, __: str, key: str, value: str) -> None:
    kind, *ids = key.split(":")

    assert all(is_id(part) for part in ids)
    if kind == "tenant":
        tenant = parse_tenant(ids[0], value.encode(), Limits())
        assert keys.tenant(tenant.id) == key
        assert tenant.default_provider in tenant.api_keys
        assert tenant.default_group in tenant.groups
    else:
        assert (kind, len(ids)) == ("tokens", 3)
        assert int(value) > 0


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))

    named = {word.removeprefix("make ") for text in TEXTS for word in text.words if re.fullmatch("make [a-z-]+", word)}

    assert named - targets == set()
    assert {"run", "test", "check", "lint"} <= named


def test_the_figures_that_are_to_be_measured_are_marked() -> None:
    rows = page("README.md").section("Measured").rows("what", "value")

    assert len(rows) == 4
    assert all(row["value"].endswith("<!-- measured -->") for row in rows)


def fields_of(path: str) -> Fields:
    """What the surface takes that such a path is of: in the examples, ``development`` is a provider."""
    scope = path.split("/")[1]
    return {"v1": group_surface.FIELDS, "development": provider_surface.FIELDS}.get(scope, tenant_surface.FIELDS)
