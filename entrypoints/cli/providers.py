"""``sluice providers``: what the files register."""

from typing import TYPE_CHECKING

from entrypoints.cli.arguments import AsJson
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import say_rows
from entrypoints.cli.working import fail, settings_given

if TYPE_CHECKING:
    from domain.models import Catalogue


def providers(as_json: AsJson = False) -> None:
    """List the registered providers, and how many models of each are known."""
    from config.composition import CompositionError, build

    try:
        container = build(settings_given().model_copy(update={"redis_url": None, "outbox": None}))
    except CompositionError as error:
        fail(str(error), Exit.MISCONFIGURED)
    catalogue = container.catalogue()
    rows = [
        {"id": spec.id, "name": spec.name, "base_url": spec.base_url, "key": spec.key, "models": _count(catalogue, spec.id, spec.models)}
        for spec in container.registry()
    ]  # fmt: skip
    say_rows(rows, ["id", "name", "base_url", "key", "models"], as_json=as_json)


def _count(catalogue: "Catalogue", provider_id: str, models: str) -> str:
    known = sum(1 for _ in catalogue.served_by(provider_id))
    return f"{known}, any other" if models == "any" else str(known)
