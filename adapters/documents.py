"""Tenants' documents as operators write them, and the domain's Tenant made of one.

Keys that are not known here belong to others and are left alone; a known key of the wrong type spoils the document.
"""

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.administration.documents import Flaw, pointer
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured
from domain.ids import is_id
from domain.models import DEFAULT_VOCABULARY, MAX_WEIGHT, Model
from domain.reach import flaw_of_base_url
from domain.routes import Place, RouteRule
from domain.tenants import ANONYMOUS, Group, GroupId, Limits, Tenant, TenantId
from domain.tokens import MAX_TOKENS, TokenPolicy


def _require_id(text: str) -> str:
    if not is_id(text):
        raise ValueError("not an id")
    return text


_Id: TypeAlias = Annotated[str, AfterValidator(_require_id)]
_Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
_Positive: TypeAlias = Annotated[int, Field(ge=1, le=MAX_TOKENS)]

#: How a sealed secret begins, and the key of a document under which its wrapped data key stands.
SEALED = "sealed:v1:"
DATA_KEY = "data_key"


def _require_open(text: str) -> str:
    if text.startswith(SEALED):
        raise ValueError("is sealed, and cannot be opened here")
    return text


#: What may stand in a header: a key with a line break in it would otherwise fail, and show itself, much later.
_Key: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[\x21-\x7e]*$"), AfterValidator(_require_open)
]
#: Scheme, host and port as a browser writes them, in lower case and without a port that goes without saying; or all.
_Origin: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^(\*|https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?)$", max_length=300)
]


def _require_public(url: str) -> str:
    flaw = flaw_of_base_url(url)
    if flaw is not None:
        raise ValueError(flaw)
    return url


_PublicUrl: TypeAlias = Annotated[str, AfterValidator(_require_public)]


class _Part(BaseModel):
    # Without strict, "5" and true would count as integers.
    model_config = ConfigDict(strict=True, extra="ignore")


class _Limits(_Part):
    requests_per_minute: _Positive | None = None
    tokens_per_minute: _Positive | None = None
    concurrent_runs: _Positive | None = None


class _Group(_Part):
    initial_tokens: _Count | None = None
    daily_tokens: _Count | None = None
    models: list[str] | None = None
    limits: _Limits | None = None
    user_limits: _Limits | None = None


class _Model(_Part):
    provider: str
    name: str | None = None
    context_window: _Positive | None = None
    max_output_tokens: _Positive | None = None
    tokenizer: str = DEFAULT_VOCABULARY
    weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False)] = 1.0


class _Strict(BaseModel):
    # Nobody else keeps anything here, and a misspelt name would send requests where nobody meant them to go.
    model_config = ConfigDict(strict=True, extra="forbid")


class _Place(_Strict):
    provider: str
    model: str | None = None


class _Share(_Place):
    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT, allow_inf_nan=False)] = 1.0


class _Route(_Strict):
    model: str = "*"
    provider: str | None = None
    share: list[_Share] = Field(default_factory=list)
    fallbacks: list[_Place] = Field(default_factory=list)
    larger: list[_Place] = Field(default_factory=list)
    on_content_filter: Literal["tell", "fall_back"] = "tell"


class _Provider(_Strict):
    base_url: _PublicUrl


class _Document(_Part):
    user_groups: list[_Id] | None = None
    groups: dict[_Id, _Group] | None = None
    api_keys: dict[str, _Key | list[_Key] | None] | None = None
    default: str | None = None
    default_model: str | None = None
    default_group: str | None = None
    models: dict[str, _Model] | None = None
    allowed_models: list[str] | None = None
    limits: _Limits | None = None
    user_limits: _Limits | None = None
    policy: Literal["prepaid", "strict"] = "prepaid"
    on_disconnect: Literal["finish", "cancel"] = "finish"
    detach_grace: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 10.0
    cache_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 3_600.0
    cache_charged: bool = False
    cache_generations: dict[str, _Count] | None = None
    allowed_origins: list[_Origin] | None = None
    provider_options: dict[str, dict[str, str]] | None = None
    routes: list[_Route] | None = None
    providers: dict[_Id, _Provider] | None = None


def parse_tenant(tenant_id: TenantId, document: bytes | JsonObject, defaults: Limits) -> Tenant:
    """The tenant that a document describes; ``defaults`` holds for each limit that it does not mention.

    Raises:
        TenantMisconfigured: it is not JSON, or not of this form. What it holds, keys included, is in no message.
    """
    read = _read(document)
    # Raised out here, where no context is kept: pydantic's error quotes what it read.
    if read is None or not is_id(tenant_id):
        raise TenantMisconfigured
    groups = _groups(read)
    default_group = read.default_group or _default_group(groups)
    if default_group is not None and default_group not in groups:
        raise TenantMisconfigured
    keys = _keys(read)
    return Tenant(
        id=tenant_id,
        groups=groups,
        api_keys=keys,
        default_provider=read.default or (next(iter(keys)) if len(keys) == 1 else None),
        default_model=read.default_model or None,
        default_group=default_group,
        own_models={name: _model(name, entry) for name, entry in (read.models or {}).items()},
        allowed_models=_patterns(read.allowed_models),
        limits=_limits(read.limits, defaults),
        policy=TokenPolicy(read.policy),
        provider_options=read.provider_options or {},
        detach_grace=read.detach_grace if read.on_disconnect == "cancel" else None,
        cache_seconds=read.cache_seconds,
        cache_charged=read.cache_charged,
        cache_generations=read.cache_generations or {},
        own_providers={name: entry.base_url for name, entry in (read.providers or {}).items()},
        allowed_origins=frozenset(read.allowed_origins or ()),
        routes=tuple(_route(entry) for entry in read.routes or ()),
    )


def flaws_of(document: JsonObject) -> tuple[Flaw, ...]:
    """What keeps a document from being read, and the keys in it that are not known here. No flaw quotes a value."""
    try:
        _Document.model_validate(document, extra="forbid")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return tuple(_flaw(detail["loc"], detail["type"], detail["msg"]) for detail in found)
    return ()


def read_document(written: bytes) -> JsonObject | None:
    """The object that is written there, None where there is none."""
    try:
        document = orjson.loads(written)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def write_document(document: JsonObject) -> bytes:
    """A document as it is stored.

    Raises:
        TenantMisconfigured: it cannot be written as JSON.
    """
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise TenantMisconfigured from None


def _flaw(place: tuple[int | str, ...], kind: str, said: str) -> Flaw:
    if kind == "extra_forbidden":
        return Flaw(pointer(*place), "is not known", unknown=True)
    if kind == "string_pattern_mismatch":
        said = "must be printable ASCII, without spaces"
    sentence = said.removeprefix("Value error, ").removeprefix("Input ")
    # Nobody wrote what pydantic names its own steps: that it looked at a key, and as what it tried a provider's keys.
    tried = 2 if place[:1] == ("api_keys",) else None
    written = [part for at, part in enumerate(place) if part != "[key]" and at != tried]
    return Flaw(pointer(*written), sentence[:1].lower() + sentence[1:])


def _read(document: bytes | JsonObject) -> _Document | None:
    try:
        return _Document.model_validate(orjson.loads(document) if isinstance(document, bytes) else document)
    except (orjson.JSONDecodeError, ValidationError):
        return None


def _groups(read: _Document) -> dict[GroupId, Group]:
    each = _limits(read.user_limits, Limits())
    groups = {group_id: Group(group_id, user_limits=each) for group_id in read.user_groups or ()}
    for group_id, entry in (read.groups or {}).items():
        groups[group_id] = Group(
            group_id,
            initial_tokens=entry.initial_tokens or 0,
            models=_patterns(entry.models),
            limits=_limits(entry.limits, Limits()),
            user_limits=_limits(entry.user_limits, each),
            daily_tokens=entry.daily_tokens,
        )
    return groups


def _keys(read: _Document) -> dict[str, tuple[str, ...]]:
    """The keys by provider; a provider whose keys are all empty has none."""
    keys: dict[str, tuple[str, ...]] = {}
    for provider_id, given in (read.api_keys or {}).items():
        usable = tuple(key for key in (given if isinstance(given, list) else (given,)) if key)
        if usable:
            keys[provider_id] = usable
    return keys


def _default_group(groups: dict[GroupId, Group]) -> GroupId | None:
    return next((group_id for group_id in groups if group_id != ANONYMOUS), ANONYMOUS if groups else None)


def _model(name: str, entry: _Model) -> Model:
    return Model(
        name,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        tokenizer=entry.tokenizer,
        weight=entry.weight,
        owned_by=entry.provider,
        names={entry.provider: entry.name or name},
    )


def _route(entry: _Route) -> RouteRule:
    return RouteRule(
        entry.model,
        entry.provider,
        share=tuple(Place(place.provider, place.model, place.weight) for place in entry.share),
        fallbacks=tuple(Place(place.provider, place.model) for place in entry.fallbacks),
        larger=tuple(Place(place.provider, place.model) for place in entry.larger),
        reroute_filtered=entry.on_content_filter == "fall_back",
    )


def _limits(given: _Limits | None, defaults: Limits) -> Limits:
    # A limit that is null is none; one that is not mentioned is the default.
    return replace(defaults, **given.model_dump(exclude_unset=True)) if given is not None else defaults


def _patterns(given: list[str] | None) -> tuple[str, ...] | None:
    return tuple(given) if given is not None else None
