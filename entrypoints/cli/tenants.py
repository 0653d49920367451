"""``sluice tenant``: tenants as they stand in the store, and as a file says that they should."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.administration.documents import Change, as_forgetful, masked, shown_changes
from domain.chat import JsonObject
from domain.ids import is_id
from entrypoints.cli.arguments import AsJson, TenantName
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain, progress, say, say_json, say_rows
from entrypoints.cli.tenantfile import TenantFileError, read_tenants
from entrypoints.cli.working import at_the_stores, fail, whoever

if TYPE_CHECKING:
    from config.container import Container
    from domain.administration.tenants import TenantAdministration
    from domain.ports import Stored

commands = typer.Typer(help="Look after tenants in the Redis of SLUICE_REDIS_URL.", no_args_is_help=True)

_MARKS = {"created": "+", "changed": "~", "unchanged": "="}


@dataclass(frozen=True, slots=True)
class _Step:
    """What a file asks for of one tenant: what is there, what should be, and how the two differ."""

    tenant: str
    before: "Stored | None"
    document: JsonObject
    changes: tuple[Change, ...]

    @property
    def action(self) -> str:
        return "created" if self.before is None else "changed" if self.changes else "unchanged"


@commands.command()
def apply(
    file: Annotated[Path, typer.Option("-f", "--file", help="TOML or JSON, one table for each tenant.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference; ends with 1 if any.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let tenants be as a file has them; those that it does not name are left alone.

    Shows what differs, with keys hidden. All that is wrong with the file is told before anything is written.
    """
    try:
        documents = read_tenants(file, os.environ)
    except TenantFileError as error:
        fail(str(error), Exit.REFUSED)

    async def work(container: "Container") -> Exit:
        tenants = container.tenant_administration()
        async with progress("tenants") as step:
            steps = []
            for tenant_id, document in documents.items():
                steps.append(await _planned(tenants, tenant_id, document))
                step()
            problems = [problem for planned in steps for problem in _problems(tenants, planned)]
            if problems:
                complain("\n".join(problems))
                return Exit.REFUSED
            if not dry_run:
                for planned in steps:
                    await _carry_out(tenants, planned)
        _say_steps(steps, as_json=as_json)
        return Exit.FINDINGS if dry_run and any(planned.action != "unchanged" for planned in steps) else Exit.DONE

    at_the_stores(work)


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all tenants."""

    async def work(container: "Container") -> None:
        ids = await container.tenant_administration().ids()
        say_rows([{"id": tenant_id} for tenant_id in ids], ["id"], as_json=as_json)

    at_the_stores(work)


@commands.command()
def show(tenant: TenantName) -> None:
    """Show a tenant's document as JSON, with keys hidden."""

    async def work(container: "Container") -> Exit:
        stored = await container.tenant_administration().show(tenant)
        if stored.document is None:
            complain(f"{tenant}: the document is no JSON object")
            return Exit.FINDINGS
        say_json(masked(stored.document))
        return Exit.DONE

    at_the_stores(work)


@commands.command()
def delete(
    tenant: TenantName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a tenant's document. Its balances stay."""
    if not yes:
        typer.confirm(f"Delete tenant {tenant}?", abort=True, err=True)

    async def work(container: "Container") -> None:
        await container.tenant_administration().delete(whoever(), tenant, None)
        say(f"{tenant}: deleted")

    at_the_stores(work)


async def _planned(tenants: "TenantAdministration", tenant_id: str, document: JsonObject) -> _Step:
    before = await tenants.documents.read(tenant_id) if is_id(tenant_id) else None
    present: JsonObject = before.document or {} if before is not None else {}
    document = as_forgetful(document, present)
    return _Step(tenant_id, before, document, shown_changes(present, document))


def _problems(tenants: "TenantAdministration", step: _Step) -> list[str]:
    if not is_id(step.tenant):
        return [f"{step.tenant!r}: is no id"]
    if step.tenant in tenants.registry:
        return [f"{step.tenant}: a provider has this id"]
    before = step.before.document or {} if step.before is not None else {}
    return [f"{step.tenant}: {flaw.pointer} {flaw.what}" for flaw in tenants.flaws(step.document, before)]


async def _carry_out(tenants: "TenantAdministration", step: _Step) -> None:
    if step.before is None:
        await tenants.create(whoever(), step.tenant, step.document)
    elif step.changes:
        await tenants.replace(whoever(), step.tenant, step.document, step.before.version)


def _say_steps(steps: list[_Step], *, as_json: bool) -> None:
    if as_json:
        say_json([{"tenant": s.tenant, "action": s.action, "changes": [asdict(c) for c in s.changes]} for s in steps])
        return
    for step in steps:
        say(f"{_MARKS[step.action]} {step.tenant}")
        for change in step.changes:
            say(f"    {change.pointer}: {_shown(change.before)} -> {_shown(change.after)}")
    counts = {action: sum(step.action == action for step in steps) for action in _MARKS}
    say(", ".join(f"{count} {action}" for action, count in counts.items()))


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
