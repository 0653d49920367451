"""From settings to whoever can vouch for a caller: the secret, and each issuer."""

from dependency_injector import providers

from adapters.auth.claims import ClaimMap, ClaimRules, Reach
from adapters.auth.introspection import Introspection, Introspector, OpaqueTokens
from adapters.auth.issuer import Issuer, is_safe
from adapters.auth.jwks import AnyKeys, JwksCache
from adapters.auth.jwt import HmacVerifier, IssuerVerifier
from config.container import Container
from config.issuers import IssuersError, IssuerSettings, read_issuers
from config.settings import Settings


class IdentityError(ValueError):
    """An issuer that cannot be one. One line for each problem, beginning with the setting."""


def add_vouchers(container: Container, settings: Settings) -> None:
    """Let the container's verifier know the parties that the settings name.

    Raises:
        IdentityError: an issuer cannot be one.
    """
    if settings.jwt_secret is not None:
        secret = settings.jwt_secret.get_secret_value().encode()
        names = ClaimMap(
            user=settings.jwt_user_claim,
            tenants=settings.jwt_tenants_claim,
            tenant=settings.jwt_tenant_claim,
            groups=settings.jwt_groups_claim,
            group=settings.jwt_group_claim,
            scope=settings.jwt_scope_claim,
        )
        rules = ClaimRules(names, settings.jwt_max_lifetime_seconds)
        container.vouchers.add_args(providers.Singleton(HmacVerifier, secret, container.clock, rules=rules))
    issuers = _issuers(settings)
    caches = [_add_issuer(container, settings, issuer) for issuer in issuers]
    if caches:
        container.checks.add_args(providers.Singleton(AnyKeys, providers.List(*caches)))


def _issuers(settings: Settings) -> list[IssuerSettings]:
    try:
        return read_issuers(settings)
    except IssuersError as error:
        raise IdentityError("\n".join(f"SLUICE_ISSUERS: {problem}" for problem in error.problems)) from None


def _add_issuer(container: Container, settings: Settings, issuer: IssuerSettings) -> "providers.Singleton[JwksCache]":
    keys = providers.Singleton(JwksCache, issuer.issuer, container.transport)
    try:
        keys()
    except ValueError as error:
        named = "SLUICE_JWT_ISSUER" if issuer.issuer == settings.jwt_issuer else "SLUICE_ISSUERS"
        raise IdentityError(f"{named}: {error}") from None
    verifier = providers.Singleton(
        IssuerVerifier,
        issuer.issuer,
        issuer.audience,
        keys,
        container.clock,
        rules=_rules(issuer),
        algorithms=issuer.algorithms,
    )
    container.vouchers.add_args(verifier)
    container.closers.add_args(keys.provided.close)
    if issuer.client_id is not None and issuer.client_secret is not None:
        terms = Introspection(
            issuer.client_id,
            issuer.client_secret.get_secret_value(),
            issuer.introspection_url,
            believed=settings.introspection_seconds,
        )
        _add_introspection(container, issuer, terms)
    return keys


def _add_introspection(container: Container, issuer: IssuerSettings, terms: Introspection) -> None:
    if terms.url is not None and not is_safe(terms.url):
        raise IdentityError("SLUICE_ISSUERS: introspection_url must be an https address")
    asked = providers.Singleton(Issuer, issuer.issuer, container.transport)
    introspector = providers.Singleton(
        Introspector, asked, issuer.audience, terms, container.clock, rules=_rules(issuer)
    )
    opaque = providers.Singleton(OpaqueTokens, introspector, terms, container.clock)
    container.introspectors.add_args(opaque)
    container.closers.add_args(opaque.provided.close)


def _rules(issuer: IssuerSettings) -> ClaimRules:
    reach = Reach(issuer.tenants, issuer.scopes, issuer.user_prefix)
    return ClaimRules(ClaimMap(**issuer.claims.model_dump()), issuer.max_lifetime_seconds, reach)
