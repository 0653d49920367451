"""``sluice providers``: what the files register, and how a replica finds it."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from entrypoints.cli.arguments import AsJson
from entrypoints.cli.calling import SECONDS, Token
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain, say_rows
from entrypoints.cli.working import fail, settings_given

if TYPE_CHECKING:
    from domain.models import Catalogue
    from domain.providers import ProviderSpec

_COLUMNS = ("id", "name", "base_url", "key", "models")


def providers(
    admin_url: Annotated[
        str | None,
        typer.Option(
            envvar="GATEWAY_ADMIN_URL",
            help="Where a replica's admin API is, to be asked how its targets are.",
            show_default=False,
        ),
    ] = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the registered providers, and how many models of each are known."""
    from config.composition import CompositionError, build

    try:
        container = build(settings_given().model_copy(update={"redis_url": None, "outbox": None}))
    except CompositionError as error:
        fail(str(error), Exit.MISCONFIGURED)
    catalogue = container.catalogue()
    rows = [_shown(spec, catalogue) for spec in container.registry()]
    if admin_url is None:
        say_rows(rows, _COLUMNS, as_json=as_json)
        return
    states = _states(admin_url, token)
    for row in rows:
        of_it = states.get(str(row["id"]), Counter())
        row["targets"] = dict(of_it) if as_json else ", ".join(f"{count} {state}" for state, count in of_it.items())
    say_rows(rows, (*_COLUMNS, "targets"), as_json=as_json)


def _states(url: str, token: str | None) -> Mapping[str, Counter[str]]:
    """How many targets of each provider are in which state, as the replica at ``url`` knows them."""
    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/admin/v1/targets", headers=headers, timeout=SECONDS, trust_env=False)
        told = answer.json()
        targets = told["data"] if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
        complain(f"{url}: no admin API answers ({type(error).__name__})")
        raise typer.Exit(Exit.TRY_AGAIN) from None
    if targets is None:
        complain(f"{url}: {told.get('detail', answer.status_code)}")
        raise typer.Exit(Exit.REFUSED)
    states: dict[str, Counter[str]] = {}
    for target in targets:
        states.setdefault(target["provider"], Counter())[target["state"]] += 1
    return states


def _shown(spec: "ProviderSpec", catalogue: "Catalogue") -> dict[str, object]:
    known = str(sum(1 for _ in catalogue.served_by(spec.id)))
    models = f"{known}, any other" if spec.models == "any" else known
    return {"id": spec.id, "name": spec.name, "base_url": spec.base_url, "key": spec.key, "models": models}
