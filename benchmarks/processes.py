"""Processes on a core of their own, and what they use; read from /proc, so Linux only."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A command in a session of its own, pinned to one core, its output in a file."""

    def __init__(self, command: list[str], core: int, log: Path, *, cwd: Path, env: dict[str, str]) -> None:
        with log.open("w") as out:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=cwd,
                env=env,
            )
        self._session = str(self._process.pid)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def cpu(self) -> float:
        """CPU seconds of the whole session so far, with the children that have ended.

        The kernel counts in ticks of 10 ms for whole processes and in nanoseconds for each thread that still lives;
        both fall short a little, so the larger of the two is the better one.
        """
        members = self._members()
        ended = sum(sum(map(int, stat[13:15])) for stat in members.values()) / _TICK
        ticks = sum(sum(map(int, stat[11:13])) for stat in members.values()) / _TICK
        threads = sum(_thread_seconds(pid) for pid in members)
        return ended + max(ticks, threads)

    def memory(self) -> int:
        """Resident bytes of the whole session."""
        return sum(int(stat[21]) for stat in self._members().values()) * _PAGE

    def stop(self) -> None:
        """End the session: ask, wait, then insist."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(5)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def _members(self) -> dict[str, list[str]]:
        """The stat of each process of the session, by its id."""
        stats = {path.name: _stat(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
        return {pid: stat for pid, stat in stats.items() if stat and stat[3] == self._session}


def busy_seconds(cores: tuple[int, ...]) -> float:
    """CPU seconds that anybody has spent on these cores since the machine started."""
    spent = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            spent += user + nice + system + irq + softirq + steal
    return spent / _TICK


def now() -> float:
    """Seconds on a clock that only goes forward."""
    return time.perf_counter()


def _stat(pid: str) -> list[str]:
    """The fields of /proc/PID/stat from the state on: field 3 of proc(5) is the first here."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _thread_seconds(pid: str) -> float:
    """CPU seconds of a process's living threads."""
    seconds = 0.0
    for file in Path("/proc", pid, "task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            seconds += int(file.read_text().split()[0]) / 1e9
    return seconds
