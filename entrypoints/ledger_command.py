"""``sluice ledger``: what an operator asks of the ledger, and tells it, from a shell."""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from domain.errors import SluiceError, StoreUnavailable
from domain.ids import is_id
from domain.ledger import Account, Entry
from domain.ports import Ledger
from domain.tokens import MAX_TOKENS

#: What `audit` ends with where something does not add up.
EX_FINDINGS = 1
#: https://man.openbsd.org/sysexits: the ledger refuses what was asked; the store is not to be had.
EX_DATAERR = 65
EX_TEMPFAIL = 75

#: Carries out a command; the exit status.
Command: TypeAlias = Callable[[Ledger, argparse.Namespace], Awaitable[int]]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its own ones."""
    about = "Look after the balances in the Redis of SLUICE_REDIS_URL."
    verbs = commands.add_parser("ledger", help=about, description=about).add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    audit = verbs.add_parser("audit", help="replay every history against its balance; exits with 1 if any differs")
    audit.add_argument("--tenant", type=_id, help="only this tenant's accounts")
    history = _account_parser(verbs, "history", "what changed a balance, newest first")
    history.add_argument("--limit", type=_positive, default=50, help="the most lines to show (50)")
    grant = _account_parser(verbs, "grant", "add tokens to a balance")
    grant.add_argument("amount", type=_positive)
    adjust = _account_parser(verbs, "adjust", "set a balance")
    adjust.add_argument("balance", type=_integer)
    for verb in (grant, adjust):
        verb.add_argument(
            "--operation", type=_id, help="an id; the same operation again changes nothing (default: a new one)"
        )


def run(ledger: Ledger, closers: Sequence[Callable[[], Awaitable[object]]], given: argparse.Namespace) -> int:
    """Carry out the command, then close what was opened for it; the exit status."""
    return asyncio.run(_run(ledger, closers, given))


async def _run(ledger: Ledger, closers: Sequence[Callable[[], Awaitable[object]]], given: argparse.Namespace) -> int:
    try:
        return await _COMMANDS[given.verb](ledger, given)
    except SluiceError as error:
        sys.stderr.write(f"{error.message}\n")
        return EX_TEMPFAIL if isinstance(error, StoreUnavailable) else EX_DATAERR
    finally:
        for close in closers:
            await close()


# --- commands -------------------------------------------------------------------------------------------------------


async def _audit(ledger: Ledger, given: argparse.Namespace) -> int:
    seen: set[Account] = set()
    findings = 0
    async for account in ledger.accounts(given.tenant):
        if account in seen:
            continue
        seen.add(account)
        for finding in await ledger.audit(account):
            findings += 1
            _say(f"{_shown(account)}: {finding.what}")
    _say(f"{len(seen)} accounts, {findings} findings")
    return EX_FINDINGS if findings else 0


async def _history(ledger: Ledger, given: argparse.Namespace) -> int:
    for entry in await ledger.history(_account(given), limit=given.limit):
        _say(_line(entry))
    return 0


async def _grant(ledger: Ledger, given: argparse.Namespace) -> int:
    available = await ledger.grant(_account(given), _operation(given), given.amount)
    _say(f"{_shown(_account(given))}: {available} tokens available")
    return 0


async def _adjust(ledger: Ledger, given: argparse.Namespace) -> int:
    available = await ledger.adjust(_account(given), _operation(given), given.balance)
    _say(f"{_shown(_account(given))}: {available} tokens available")
    return 0


_COMMANDS: Mapping[str, Command] = {"audit": _audit, "history": _history, "grant": _grant, "adjust": _adjust}


def _line(entry: Entry) -> str:
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")[:-6]
    return (
        f"{at}Z  {entry.kind.value:<8}  {entry.amount:>12}  balance {entry.balance:>12}  held {entry.held:>12}  "
        f"{entry.operation}"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


# --- arguments ------------------------------------------------------------------------------------------------------


def _account_parser(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=about, description=about)
    for part in ("tenant", "group", "user"):
        parser.add_argument(part, type=_id)
    return parser


def _account(given: argparse.Namespace) -> Account:
    return Account(given.tenant, given.group, given.user)


def _shown(account: Account) -> str:
    return f"{account.tenant}:{account.group}:{account.user}"


def _operation(given: argparse.Namespace) -> str:
    operation: str | None = given.operation
    return operation or f"cli-{uuid.uuid4().hex}"


def _id(text: str) -> str:
    if not is_id(text):
        raise argparse.ArgumentTypeError("is no id: letters, digits, '.', '_', '@' and '-', 128 at most")
    return text


def _integer(text: str) -> int:
    # int() alone would take '1_000' and ' 5 '.
    number = int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() else None
    if number is None or abs(number) > MAX_TOKENS:
        raise argparse.ArgumentTypeError("is no whole number of tokens")
    return number


def _positive(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 at least")
    return number
