"""The issuers that may vouch for callers: the one that the settings name, and those of a TOML file, one table each."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from config.settings import Settings


class IssuersError(ValueError):
    """What is wrong with the file: one line for each problem. Values are never repeated; they may be secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Claims(BaseModel):
    """Which claim says what in the tokens of one issuer; the settings' names where a field is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user: str
    tenants: str
    tenant: str
    groups: str
    group: str
    scope: str


class IssuerSettings(BaseModel):
    """One issuer. ``docs/configuration.md`` lists the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    audience: str = Field(min_length=1)
    algorithms: tuple[Literal["RS256", "ES256", "EdDSA", "Ed25519"], ...] = ("RS256", "ES256", "EdDSA", "Ed25519")
    claims: Claims
    max_lifetime_seconds: int = Field(ge=60)
    tenants: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    user_prefix: str = ""
    client_id: str | None = Field(default=None, min_length=1)
    client_secret: SecretStr | None = Field(default=None, min_length=1)
    introspection_url: str | None = None

    @model_validator(mode="after")
    def _sound(self) -> "IssuerSettings":
        if urlsplit(self.issuer).scheme not in ("http", "https") or not urlsplit(self.issuer).hostname:
            raise ValueError("issuer: must be an http or https URL")
        if not self.algorithms:
            raise ValueError("algorithms: must name one at least")
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret belong together")
        if self.introspection_url is not None and self.client_id is None:
            raise ValueError("introspection_url: is of no use without client_id and client_secret")
        return self


def read_issuers(settings: Settings) -> list[IssuerSettings]:
    """The issuer of the settings first, then those of the file, in its order.

    Raises:
        IssuersError: all that is wrong with the file.
    """
    defaults = {"claims": _claims(settings), "max_lifetime_seconds": settings.jwt_max_lifetime_seconds}
    issuers = []
    if settings.jwt_issuer is not None:
        own = {"issuer": settings.jwt_issuer, "audience": settings.jwt_audience}
        client = {"client_id": settings.jwt_client_id, "client_secret": settings.jwt_client_secret}
        issuers.append(IssuerSettings.model_validate({**defaults, **own, **client}))
    problems: list[str] = []
    for name, table in _tables(settings.issuers, problems):
        try:
            issuers.append(_issuer(table, defaults))
        except ValidationError as error:
            problems += [f"[{name}] {problem}" for problem in _told(error)]
    addresses = [each.issuer for each in issuers]
    if len(set(addresses)) != len(addresses):
        problems.append("an issuer is named twice")
    if sum(each.client_id is not None for each in issuers) > 1:
        # Nobody can see whose an opaque token is, and it must be shown to no issuer but its own.
        problems.append("only one issuer can have a client_id")
    if problems:
        raise IssuersError(problems)
    return issuers


def _issuer(table: dict[str, Any], defaults: dict[str, Any]) -> IssuerSettings:
    named = table.get("claims", {})
    claims = {**defaults["claims"], **named} if isinstance(named, dict) else named
    return IssuerSettings.model_validate({**defaults, **table, "claims": claims})


def _claims(settings: Settings) -> dict[str, str]:
    return {name: getattr(settings, f"jwt_{name}_claim") for name in Claims.model_fields}


def _tables(path: Path | None, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"cannot be read ({type(error).__name__})")
        return
    for name, table in document.items():
        if isinstance(table, dict):
            yield name, table
        else:
            problems.append(f"{name}: must be a table")


def _told(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(map(str, detail["loc"]))
        sentence = detail["msg"].removeprefix("Value error, ")
        yield f"{where}: {sentence[:1].lower()}{sentence[1:]}" if where else sentence
