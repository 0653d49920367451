"""Outboxes: what every one of them keeps, and what the one in a folder keeps beyond its process."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.outbox.file import FileOutbox
from adapters.outbox.memory import MemoryOutbox
from domain.errors import OutboxFailed
from domain.ledger import Account, Settlement
from domain.ports import Outbox
from tests.gateway import CHECKOUT

ACME = Account("acme", "staff", "u1")
#: Fills an outbox in the folder that its argument names, and stays until it is killed.
_OWNER = """
import asyncio, sys
from pathlib import Path
from adapters.outbox.file import FileOutbox
from domain.ledger import Account, Settlement
outbox = FileOutbox(Path(sys.argv[1]))
asyncio.run(outbox.put(Settlement(Account("acme", "staff", "u1"), "other", 7)))
print("written", flush=True)
sys.stdin.read()
"""


def settlement(number: int, cost: int | None = 5) -> Settlement:
    return Settlement(ACME, f"run-{number}", cost)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Outbox]:
    def make(size: int) -> Outbox:
        return MemoryOutbox(size=size) if request.param == "memory" else FileOutbox(tmp_path, size=size)

    return make


@pytest.fixture
def outbox(make: Callable[[int], Outbox]) -> Outbox:
    return make(1_000)


@pytest.fixture
def owner(tmp_path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Another process, which has written one settlement and lives."""
    program = [sys.executable, "-c", _OWNER, str(tmp_path)]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(program, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        yield process


# --- every outbox -----------------------------------------------------------------------------------------------------


async def test_what_was_put_waits_oldest_first_until_it_is_done(outbox: Outbox) -> None:
    for number in range(3):
        await outbox.put(settlement(number))

    await outbox.done(settlement(1))

    assert outbox.waiting() == (settlement(0), settlement(2))


async def test_the_same_settlement_twice_is_one(outbox: Outbox) -> None:
    await outbox.put(settlement(1))
    await outbox.put(settlement(1))

    assert outbox.waiting() == (settlement(1),)


async def test_a_release_is_none_of_a_settlement_at_nothing(outbox: Outbox) -> None:
    await outbox.put(settlement(1, None))
    await outbox.put(settlement(2, 0))

    assert [each.cost for each in outbox.waiting()] == [None, 0]


async def test_forgetting_what_was_never_put_does_no_harm(outbox: Outbox) -> None:
    await outbox.put(settlement(1))

    await outbox.done(settlement(2))

    assert outbox.waiting() == (settlement(1),)


async def test_an_outbox_is_full_at_its_size_and_has_room_again(make: Callable[[int], Outbox]) -> None:
    outbox = make(2)
    await outbox.put(settlement(1))
    before = outbox.is_full
    await outbox.put(settlement(2))
    at_its_size = outbox.is_full

    await outbox.done(settlement(1))

    assert (before, at_its_size, outbox.is_full) == (False, True, False)


async def test_a_run_that_was_admitted_before_it_was_full_is_still_taken(make: Callable[[int], Outbox]) -> None:
    outbox = make(1)

    await outbox.put(settlement(1))
    await outbox.put(settlement(2))

    assert outbox.waiting() == (settlement(1), settlement(2))


async def test_what_waits_is_a_copy(outbox: Outbox) -> None:
    await outbox.put(settlement(1))
    seen = outbox.waiting()

    await outbox.done(settlement(1))

    assert seen == (settlement(1),)


# --- in a folder ------------------------------------------------------------------------------------------------------


async def test_a_settlement_is_on_the_disk_before_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = FileOutbox(tmp_path)
    (path,) = files_in(tmp_path)
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))

    await outbox.put(settlement(1))

    assert [text.count(b"run-1") for text in synced] == [1]


def test_the_name_of_the_file_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()))

    FileOutbox(tmp_path / "outbox")

    assert {tmp_path, tmp_path / "outbox"} <= set(synced)


async def test_what_a_dead_process_left_is_inherited(tmp_path: Path, owner: "subprocess.Popen[bytes]") -> None:
    owner.kill()
    owner.wait()

    heir = FileOutbox(tmp_path)

    assert heir.waiting() == (Settlement(ACME, "other", 7),)
    assert len(files_in(tmp_path)) == 1


async def test_what_was_inherited_is_inherited_again(tmp_path: Path, owner: "subprocess.Popen[bytes]") -> None:
    owner.kill()
    owner.wait()
    heir = FileOutbox(tmp_path)
    await heir.put(settlement(1))
    await heir.aclose()

    assert FileOutbox(tmp_path).waiting() == (Settlement(ACME, "other", 7), settlement(1))


async def test_nothing_is_taken_from_a_living_process(tmp_path: Path, owner: "subprocess.Popen[bytes]") -> None:
    stranger = FileOutbox(tmp_path)

    assert stranger.waiting() == ()
    assert owner.poll() is None
    assert len(files_in(tmp_path)) == 2


async def test_a_torn_last_line_costs_itself_alone(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    await outbox.put(settlement(1))
    await outbox.put(settlement(2))
    await outbox.aclose()
    (path,) = files_in(tmp_path)
    whole = path.read_bytes()

    for cut in range(len(whole) // 2 + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        heir = FileOutbox(tmp_path)
        assert heir.waiting() == (settlement(1),)
        await heir.aclose()
        (path,) = files_in(tmp_path)


async def test_a_full_disk_is_told_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = FileOutbox(tmp_path)
    await outbox.put(settlement(1))
    write, calls = os.write, 0

    def half_a_line(file: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half_a_line)
        with pytest.raises(OutboxFailed):
            await outbox.put(settlement(2))
    await outbox.put(settlement(3))
    still = outbox.waiting()
    await outbox.aclose()

    # What could not be written waits for as long as its process lives; who inherits finds whole lines.
    assert still == (settlement(1), settlement(2), settlement(3))
    assert FileOutbox(tmp_path).waiting() == (settlement(1), settlement(3))


async def test_the_file_is_empty_when_nothing_waits(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    (path,) = files_in(tmp_path)
    for number in range(3):
        await outbox.put(settlement(number))
    for number in range(2):
        await outbox.done(settlement(number))
    before = path.stat().st_size

    await outbox.done(settlement(2))

    assert before > 0
    assert path.stat().st_size == 0


async def test_an_outbox_with_nothing_in_it_leaves_no_file(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    await outbox.put(settlement(1))
    await outbox.done(settlement(1))

    await outbox.aclose()

    assert files_in(tmp_path) == []


async def test_a_file_that_another_took_before_it_was_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas start at once: one makes its file, and the other takes it for a dead process's."""
    made = os.open
    others: list[FileOutbox | None] = []

    def open_slowly(path: Path, flags: int, mode: int = 0o777) -> int:
        file = made(path, flags, mode)
        if flags & os.O_CREAT and not others:
            others.append(None)
            others.append(FileOutbox(tmp_path))
        return file

    monkeypatch.setattr(os, "open", open_slowly)
    outbox = FileOutbox(tmp_path)
    await outbox.put(settlement(1))
    await outbox.aclose()

    assert FileOutbox(tmp_path).waiting() == (settlement(1),)


def test_a_file_that_another_took_meanwhile_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dead.outbox").write_bytes(b"")
    opened, taken = os.open, False

    def open_slowly(path: Path, flags: int, mode: int = 0o777) -> int:
        nonlocal taken
        file = opened(path, flags, mode)
        if Path(path).name == "dead.outbox" and not taken:
            taken = True
            Path(path).unlink()
        return file

    monkeypatch.setattr(os, "open", open_slowly)

    assert FileOutbox(tmp_path).waiting() == ()
    assert taken
