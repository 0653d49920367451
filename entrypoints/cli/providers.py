"""``sluice providers``: what the files register."""

from typing import TYPE_CHECKING

from entrypoints.cli.arguments import AsJson
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import say_rows
from entrypoints.cli.working import fail, settings_given

if TYPE_CHECKING:
    from domain.models import Catalogue
    from domain.providers import ProviderSpec


def providers(as_json: AsJson = False) -> None:
    """List the registered providers, and how many models of each are known."""
    from config.composition import CompositionError, build

    try:
        container = build(settings_given().model_copy(update={"redis_url": None, "outbox": None}))
    except CompositionError as error:
        fail(str(error), Exit.MISCONFIGURED)
    catalogue = container.catalogue()
    rows = [_shown(spec, catalogue) for spec in container.registry()]
    say_rows(rows, ["id", "name", "base_url", "key", "models"], as_json=as_json)


def _shown(spec: "ProviderSpec", catalogue: "Catalogue") -> dict[str, object]:
    known = str(sum(1 for _ in catalogue.served_by(spec.id)))
    models = f"{known}, any other" if spec.models == "any" else known
    return {"id": spec.id, "name": spec.name, "base_url": spec.base_url, "key": spec.key, "models": models}
