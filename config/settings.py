"""Settings: read once, from the environment and a TOML file, and wrong ones reported all at once.

The environment wins over the file. Names in the file are those of the variables, in lower case and without the prefix.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from config.strength import weakness

PREFIX = "SLUICE_"
#: The variable that names the file; it is no setting itself.
CONFIG_VARIABLE = "SLUICE_CONFIG"


class SettingsError(ValueError):
    """What is wrong with the settings: one line for each problem. Values are never repeated; they may be secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseModel):
    """Everything that an operator can set. Each field is ``SLUICE_<NAME>``; ``docs/configuration.md`` lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    admin_host: str = "127.0.0.1"
    admin_port: int | None = Field(default=None, ge=0, le=65535)
    redis_url: SecretStr | None = None
    jwt_secret: SecretStr | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_client_id: str | None = None
    jwt_client_secret: SecretStr | None = None
    jwt_user_claim: str = "sub"
    jwt_tenants_claim: str = "tenants"
    jwt_tenant_claim: str = "tenant_id"
    jwt_groups_claim: str = "groups"
    jwt_group_claim: str = "group"
    jwt_scope_claim: str = "scope"
    jwt_max_lifetime_seconds: int = Field(default=86_400, ge=60)
    issuers: Path | None = None
    introspection_seconds: float = Field(default=30.0, gt=0)
    secret_keys: SecretStr | None = None
    secret_keys_file: Path | None = None
    providers: Path | None = None
    models: Path | None = None
    upstream: str | None = None
    upstream_key: SecretStr | None = None
    demo: bool = False
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    connections: int = Field(default=8192, ge=1)
    url_bytes: int = Field(default=8000, ge=256)
    header_bytes: int = Field(default=8000, ge=256)
    header_count: int = Field(default=100, ge=10)
    head_bytes: int = Field(default=16 * 1024, ge=1024)
    head_seconds: float = Field(default=10.0, gt=0)
    metrics: Literal["public", "admin", "off"] = "public"
    metrics_tenants: bool = False
    traces_url: str | None = None
    traces_share: float = Field(default=1.0, ge=0, le=1)
    tenant_providers: bool = False
    docs: bool = True
    body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    anonymous_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    body_seconds: float = Field(default=60.0, gt=0)
    send_seconds: float = Field(default=60.0, gt=0)
    connection_idle_seconds: float = Field(default=75.0, gt=0)
    shed_lag_seconds: float | None = Field(default=1.0, gt=0)
    shed_memory_bytes: int | None = Field(default=None, ge=64 * 1024 * 1024)
    output_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    connect_seconds: float = Field(default=5.0, gt=0)
    first_byte_seconds: float = Field(default=120.0, gt=0)
    first_token_seconds: float = Field(default=10.0, gt=0)
    idle_seconds: float = Field(default=60.0, gt=0)
    total_seconds: float = Field(default=600.0, gt=0)
    target_runs: int = Field(default=1024, ge=1)
    target_queue: int = Field(default=256, ge=0)
    target_queue_seconds: float = Field(default=5.0, gt=0)
    queue_seconds: float = Field(default=600.0, gt=0)
    job_slots: int = Field(default=32, ge=0)
    queue_length: int = Field(default=1000, ge=1)
    stream_grace_seconds: float = Field(default=10.0, gt=0)
    keep_alive_seconds: float = Field(default=15.0, gt=0)
    drain_seconds: float = Field(default=30.0, ge=0)
    lease_seconds: float = Field(default=10.0, ge=1)
    redis_seconds: float = Field(default=0.3, gt=0)
    replicas: int = Field(default=1, ge=1)
    redis_grace_seconds: float = Field(default=10.0, ge=0)
    log_kept_seconds: float = Field(default=900.0, ge=1)
    outbox: Path | None = None
    run_kept_seconds: float = Field(default=86_400.0, ge=1)
    requests_per_minute: int | None = Field(default=10_000, ge=1)
    tokens_per_minute: int | None = Field(default=10_000_000, ge=1)

    @field_validator("redis_url", "jwt_issuer", "jwt_audience", "jwt_client_id", "issuers", "providers", "models",
                     "upstream", "upstream_key", "outbox", "admin_port", "traces_url", "requests_per_minute",
                     "tokens_per_minute", "shed_lag_seconds", "shed_memory_bytes", mode="before")  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("jwt_secret")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        found = weakness(value.get_secret_value().encode()) if value is not None else None
        if found is not None:
            raise ValueError(found)
        return value

    @field_validator("jwt_client_secret", "secret_keys")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        # How good the one is, its issuer has decided; the other is taken apart later.
        if value is not None and not value.get_secret_value():
            raise ValueError("must not be empty")
        return value

    @field_validator("upstream", "jwt_issuer", "traces_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must be an http or https URL")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> "Settings":
        if self.jwt_issuer is not None and self.jwt_audience is None:
            raise ValueError("SLUICE_JWT_AUDIENCE: is required with SLUICE_JWT_ISSUER")
        if (self.jwt_client_id is None) != (self.jwt_client_secret is None):
            raise ValueError("SLUICE_JWT_CLIENT_ID: belongs together with SLUICE_JWT_CLIENT_SECRET")
        if self.jwt_client_id is not None and self.jwt_issuer is None:
            raise ValueError("SLUICE_JWT_ISSUER: is required with SLUICE_JWT_CLIENT_ID")
        if self.metrics == "admin" and self.admin_port is None:
            raise ValueError("SLUICE_ADMIN_PORT: is required with SLUICE_METRICS=admin")
        if self.secret_keys is not None and self.secret_keys_file is not None:
            raise ValueError("SLUICE_SECRET_KEYS: cannot be set together with SLUICE_SECRET_KEYS_FILE")
        longest = max(self.log_kept_seconds, self.queue_seconds, self.total_seconds, self.lease_seconds)
        if self.run_kept_seconds < longest:
            raise ValueError(f"SLUICE_RUN_KEPT_SECONDS: must be {longest:g} at least, as the other settings are")
        return self


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of a process.

    Raises:
        SettingsError: unknown names, wrong values, an unreadable file; all problems at once.
    """
    problems: list[str] = []
    given = _from_file(environment.get(CONFIG_VARIABLE, ""), problems)
    given |= _from_environment(environment)
    for name in sorted(given.keys() - Settings.model_fields.keys()):
        problems.append(_unknown(name))
        del given[name]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(problems + _told(error)) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _from_file(path: str, problems: list[str]) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{CONFIG_VARIABLE}: cannot be read ({type(error).__name__})")
        return {}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE
    }


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
    return f"{PREFIX}{name.upper()}: there is no such setting{hint}"


def _told(error: ValidationError) -> list[str]:
    """pydantic's errors without their inputs, which may be secrets."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        sentence = detail["msg"].removeprefix("Value error, ")
        where = f"{PREFIX}{str(detail['loc'][0]).upper()}: " if detail["loc"] else ""
        problems.append(where + sentence[:1].lower() + sentence[1:] if where else sentence)
    return problems
