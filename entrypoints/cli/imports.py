"""``sluice import``: configurations of other gateways, as files of Sluice's."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from entrypoints.cli.arguments import AsJson, an_id
from entrypoints.cli.exits import Exit
from entrypoints.cli.migration import litellm as from_litellm
from entrypoints.cli.migration import portkey as from_portkey
from entrypoints.cli.migration.translation import Translation
from entrypoints.cli.telling import say, say_json
from entrypoints.cli.working import fail

commands = typer.Typer(help="Translate the configuration of another gateway.", no_args_is_help=True)

Source: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]
Folder: TypeAlias = Annotated[Path, typer.Option("--to", help="The folder to write to; nothing is overwritten.")]
Tenant: TypeAlias = Annotated[str, typer.Option(parser=an_id, metavar="TENANT", help="The tenant to make of it.")]
_HERE = Path("sluice-import")


@commands.command()
def litellm(file: Source, to: Folder = _HERE, tenant: Tenant = "imported", as_json: AsJson = False) -> None:
    """Translate a LiteLLM proxy's config.yaml; tells what has no counterpart."""
    _translate(file, to, tenant, from_litellm.translate, as_json=as_json)


@commands.command()
def portkey(file: Source, to: Folder = _HERE, tenant: Tenant = "imported", as_json: AsJson = False) -> None:
    """Translate a Portkey gateway config, JSON; tells what has no counterpart."""
    _translate(file, to, tenant, from_portkey.translate, as_json=as_json)


def _translate(
    file: Path,
    to: Path,
    tenant: str,
    translate: Callable[[Mapping[str, Any], str], Translation],
    *,
    as_json: bool,
) -> None:
    translation = translate(_read(file), tenant)
    try:
        written = translation.write(to)
    except OSError as error:
        fail(f"{to}: cannot be written to ({error.strerror})", Exit.REFUSED)
    if as_json:
        say_json({"files": [str(path) for path in written], "left": [asdict(left) for left in translation.left]})
        return
    for path in written:
        say(f"wrote {path}")
    if translation.left:
        say(f"\nnot translated ({len(translation.left)}):")
    for left in translation.left:
        say(f"  {left.where}: {left.why}")
    say(f"\nnext: SLUICE_CONFIG={written[0]} sluice check --offline -f {to / 'tenants.toml'}")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text("utf-8")
        read = json.loads(text) if file.suffix == ".json" else _yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: cannot be read ({type(error).__name__})", Exit.REFUSED)
    except ValueError as error:
        fail(f"{file}: {error}", Exit.REFUSED)
    if not isinstance(read, Mapping):
        fail(f"{file}: is no table", Exit.REFUSED)
    return read


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        fail("YAML needs PyYAML (pip install pyyaml); or give the file as JSON", Exit.UNAVAILABLE)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML ({type(error).__name__})") from None
