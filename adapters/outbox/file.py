"""An outbox in a folder, which outlives its process: one file for each, append-only, each line on the disk before
anybody goes on.

A file is its process's for as long as it holds its lock, so that whoever starts later finds what a dead one left.
"""

import asyncio
import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from domain.errors import OutboxFailed
from domain.ledger import Settlement

_SETTLEMENT = TypeAdapter(Settlement)
_PATTERN = "*.outbox"


class FileOutbox:
    """Settlements in ``folder``, which is made if it is not there; ``size`` of them at most.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, size: int = 100_000) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._size = size
        self._path = folder / f"{uuid.uuid4().hex}.outbox"
        self._file = _make(self._path)
        self._waiting: dict[Settlement, None] = {}
        self._writing = asyncio.Lock()
        for settlement in self._inherited(folder):
            self._waiting[settlement] = None

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._size

    async def put(self, settlement: Settlement) -> None:
        async with self._writing:
            # Where it cannot be written down, the ledger can still be told for as long as this process lives.
            self._waiting[settlement] = None
            try:
                await asyncio.to_thread(_append, self._file, (settlement,))
            except OSError:
                raise OutboxFailed from None

    def waiting(self) -> Sequence[Settlement]:
        return tuple(self._waiting)

    async def done(self, settlement: Settlement) -> None:
        self._waiting.pop(settlement, None)
        if self._waiting:
            # What is done is in the file still; told again, the ledger knows it already.
            return
        async with self._writing:
            if not self._waiting:
                with suppress(OSError):
                    await asyncio.to_thread(os.ftruncate, self._file, 0)

    async def aclose(self) -> None:
        """Let go of the file; one with nothing in it goes."""
        if not self._waiting:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _inherited(self, folder: Path) -> Iterator[Settlement]:
        """What dead processes left: in this outbox's file first, and only then out of theirs."""
        for path in folder.glob(_PATTERN):
            if path == self._path:
                continue
            left = _take(path)
            if left is None:
                continue
            file, settlements = left
            _append(self._file, settlements)
            path.unlink(missing_ok=True)
            os.close(file)
            yield from settlements


def _make(path: Path) -> int:
    """A new file with its lock, which others see only when it has both; it is found again after a power cut."""
    unseen = path.with_suffix(".new")
    file = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    unseen.rename(path)
    for folder in (path.parent, path.parent.parent):
        _sync_names(folder)
    return file


def _sync_names(folder: Path) -> None:
    try:
        names = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # The folder above need not be ours to read; then somebody else has made this one, and before.
        return
    try:
        os.fsync(names)
    finally:
        os.close(names)


def _take(path: Path) -> tuple[int, tuple[Settlement, ...]] | None:
    """The locked file and what it holds; None where its process lives, or another one was quicker."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    if not os.fstat(file).st_nlink:
        # Another one took it between the two, and has written down what was in it.
        os.close(file)
        return None
    with os.fdopen(os.dup(file), "rb") as lines:
        return file, tuple(_parsed(lines.read()))


def _parsed(text: bytes) -> Iterator[Settlement]:
    for line in text.splitlines():
        # The last line may be torn, of a process that died while it wrote: nobody went on after it.
        with suppress(ValidationError):
            yield _SETTLEMENT.validate_json(line)


def _append(file: int, settlements: Sequence[Settlement]) -> None:
    """Write lines, all of them or none.

    Raises:
        OSError: the disk is full, or gone.
    """
    data = b"".join(orjson.dumps(settlement) + b"\n" for settlement in settlements)
    size = os.fstat(file).st_size
    try:
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)
    except OSError:
        # Half a line would spoil the next one.
        os.ftruncate(file, size)
        raise
