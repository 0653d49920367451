"""``sluice runs``: runs that have not ended, any one by its id, stopping one, and watching one live."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.chat import JsonObject
from domain.runs import Run
from entrypoints.cli.arguments import AsJson, an_id
from entrypoints.cli.calling import HERE, SECONDS, Token, Url
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain, say_json, say_rows
from entrypoints.cli.working import at_the_stores, whoever

if TYPE_CHECKING:
    from config.container import Container

commands = typer.Typer(help="Look at runs, and stop them.", no_args_is_help=True)

_COLUMNS = ("id", "tenant", "group", "user", "provider", "model", "status", "events", "charged")
_HIDDEN = ("fingerprint", "error", "usage", "status", "tail")


@commands.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(parser=an_id, metavar="TENANT", help="Only this tenant's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the runs that wait or go on, oldest first."""
    from domain.administration.runs import RunQuery

    async def work(container: "Container") -> None:
        found = await container.run_administration().unfinished(RunQuery(tenant), limit)
        say_rows([_shown(run) for run in found], _COLUMNS, as_json=as_json)

    at_the_stores(work)


@commands.command()
def show(run: Annotated[str, typer.Argument(metavar="RUN-ID")]) -> None:
    """Show one run as JSON, without what it says."""

    async def work(container: "Container") -> None:
        say_json(_shown(await container.run_administration().show(run)))

    at_the_stores(work)


@commands.command()
def cancel(run: Annotated[str, typer.Argument(metavar="RUN-ID")], as_json: AsJson = False) -> None:
    """Stop a run; what it has said is paid for."""

    async def work(container: "Container") -> None:
        ended = await container.run_administration().cancel(whoever(), run)
        say_rows([_shown(ended)], _COLUMNS, as_json=as_json)

    at_the_stores(work)


@commands.command()
def watch(
    run: Annotated[str, typer.Argument(metavar="RUN-ID")],
    tenant: Annotated[str, typer.Option(parser=an_id, metavar="TENANT", help="Whose run it is.")],
    url: Url = HERE,
    token: Token = None,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to go on without hearing anything.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Read a run's stream from its beginning to its end, across lost connections and restarts.

    Needs the token of whoever asked for the run, but for group anonymous. Ends with 1 where the run failed.
    """
    import httpx

    from entrypoints.cli.watching import GaveUp, RunRefused, Watcher

    headers = {"X-Tenant-Id": tenant} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(base_url=url, headers=headers, timeout=SECONDS, trust_env=False) as client:
        watcher = Watcher(client, f"/v1/chat/completions/{run}", patience)
        try:
            failed = [_say_event(event, as_json=as_json) for event in watcher.events()]
        except RunRefused as error:
            complain(str(error))
            raise typer.Exit(Exit.REFUSED) from None
        except GaveUp:
            complain(f"{url}: nothing was heard for {patience:g} seconds")
            raise typer.Exit(Exit.TRY_AGAIN) from None
    if watcher.resumed:
        complain(f"came back {watcher.resumed} times")
    raise typer.Exit(Exit.FINDINGS if any(failed) else Exit.DONE)


def _say_event(event: dict[str, Any], *, as_json: bool) -> bool:
    """Tell of an event; whether it is the failure of the run."""
    if as_json:
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
    elif "error" in event:
        complain(f"\n{event['error'] if isinstance(event['error'], str) else event['error']['message']}")
    else:
        for choice in event.get("choices", ()):
            sys.stdout.write((choice.get("delta") or {}).get("content") or "")
            sys.stdout.write("\n" if choice.get("finish_reason") else "")
    sys.stdout.flush()
    return "error" in event


def _shown(run: Run) -> JsonObject:
    facts = {name: value for name, value in asdict(run).items() if name not in _HIDDEN}
    return {**facts, "status": run.status.value, "events": run.tail, "error": run.error and run.error.code}
