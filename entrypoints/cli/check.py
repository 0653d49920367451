"""``sluice check``: everything that is wrong with a configuration, at once, before anybody meets it."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.settings import Settings, SettingsError, read_settings
from domain.chat import JsonObject
from domain.errors import SluiceError, StoreUnavailable
from domain.ids import is_id
from entrypoints.cli.arguments import AsJson
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import progress, say, say_json
from entrypoints.cli.tenantfile import TenantFileError, read_tenants

if TYPE_CHECKING:
    from config.container import Container

#: Of several, the one that a start would end with comes first.
_ORDER = (Exit.MISCONFIGURED, Exit.TRY_AGAIN, Exit.FINDINGS)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and how a command ends that finds it."""

    status: Exit
    what: str


def check(
    file: Annotated[Path | None, typer.Option("-f", "--file", help="A file of tenants, too.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither Redis nor an issuer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, catalogue files, stores and tenants' documents, and tell all that is wrong.

    Ends with 78 where a gateway would not start, with 75 where something does not answer, with 1 where a tenant's
    document is wrong.
    """
    problems = _found(file, offline=offline)
    if as_json:
        say_json([{**asdict(problem), "status": int(problem.status)} for problem in problems])
    else:
        for problem in problems:
            say(problem.what)
        say(f"{len(problems)} problems" if problems else "nothing is wrong")
    statuses = {problem.status for problem in problems}
    raise typer.Exit(next((status for status in _ORDER if status in statuses), Exit.DONE))


def _found(file: Path | None, *, offline: bool) -> list[Problem]:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        return _lines(Exit.MISCONFIGURED, str(error))
    from config.composition import CompositionError, build

    try:
        container = build(settings.model_copy(update={"redis_url": None}) if offline else settings)
    except CompositionError as error:
        return _lines(Exit.MISCONFIGURED, str(error))
    return [*_in_file(container, file), *asyncio.run(_live(container, settings, offline=offline))]


def _in_file(container: "Container", file: Path | None) -> Iterator[Problem]:
    if file is None:
        return
    try:
        documents = read_tenants(file, os.environ)
    except TenantFileError as error:
        yield from _lines(Exit.FINDINGS, str(error))
        return
    for tenant_id, document in documents.items():
        for what in _of_document(container, tenant_id, document, {}):
            yield Problem(Exit.FINDINGS, f"{file.name}: {tenant_id}: {what}")


async def _live(container: "Container", settings: Settings, *, offline: bool) -> list[Problem]:
    try:
        if offline:
            return []
        problems = await _dependencies(container)
        return problems + (await _in_store(container) if settings.redis_url is not None else [])
    except StoreUnavailable:
        return [Problem(Exit.TRY_AGAIN, "redis: does not answer")]
    finally:
        for close in container.closers():
            await close()


async def _dependencies(container: "Container") -> list[Problem]:
    problems: list[Problem] = []
    for dependency in (container.namespaces(), *container.checks()):
        flaw = await dependency.flaw()
        reason = None if flaw is not None else await dependency.check()
        if flaw is not None:
            problems.append(Problem(Exit.MISCONFIGURED, f"{dependency.name}: {flaw}"))
        if reason is not None:
            problems.append(Problem(Exit.TRY_AGAIN, f"{dependency.name}: {reason}"))
    return problems


async def _in_store(container: "Container") -> list[Problem]:
    tenants, problems = container.tenant_administration(), []
    async with progress("tenants") as step:
        for tenant_id in await tenants.ids():
            try:
                document = (await tenants.show(tenant_id)).document
            except StoreUnavailable:
                raise
            except SluiceError:
                continue  # deleted since it was listed
            found = (
                ["is no JSON object"] if document is None else _of_document(container, tenant_id, document, document)
            )
            problems += [Problem(Exit.FINDINGS, f"tenant:{tenant_id}: {what}") for what in found]
            step()
    return problems


def _of_document(container: "Container", tenant_id: str, document: JsonObject, before: JsonObject) -> list[str]:
    tenants = container.tenant_administration()
    if not is_id(tenant_id):
        return ["is no id"]
    if tenant_id in tenants.registry:
        return ["a provider has this id"]
    return [f"{flaw.pointer} {flaw.what}" for flaw in tenants.flaws(document, before)]


def _lines(status: Exit, text: str) -> list[Problem]:
    return [Problem(status, line) for line in text.splitlines()]
