"""Files of tenants: TOML or JSON, one table for each tenant, in the form of its document.

A key of a provider may be ``env:NAME``: the file can be shared then, and the key is the environment's.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from domain.administration.documents import SECRETS
from domain.chat import JsonObject

_ENV = "env:"


class TenantFileError(ValueError):
    """What is wrong with a file: one line for each problem, which begins with its name."""


def read_tenants(path: Path, environment: Mapping[str, str]) -> dict[str, JsonObject]:
    """The documents in a file, by tenant, their keys taken from the environment where they are there.

    Raises:
        TenantFileError: it cannot be read, or names variables that are not set.
    """
    try:
        text = path.read_text("utf-8")
        tables = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise TenantFileError(f"{path.name}: cannot be read ({type(error).__name__})") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise TenantFileError(f"{path.name}: {error}") from None
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise TenantFileError(f"{path.name}: holds something else than one table for each tenant")
    problems: list[str] = []
    documents = {tenant_id: _resolved(table, environment, problems) for tenant_id, table in tables.items()}
    if problems:
        raise TenantFileError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return documents


def _resolved(table: JsonObject, environment: Mapping[str, str], problems: list[str]) -> JsonObject:
    def resolve(value: object) -> object:
        if isinstance(value, dict):
            return {name: resolve(part) for name, part in value.items()}
        if isinstance(value, list):
            return [resolve(part) for part in value]
        if not isinstance(value, str) or not value.startswith(_ENV):
            return value
        name = value.removeprefix(_ENV)
        if not environment.get(name):
            problems.append(f"the variable {name} is not set")
        return environment.get(name, "")

    return {name: resolve(value) if name in SECRETS else value for name, value in table.items()}
