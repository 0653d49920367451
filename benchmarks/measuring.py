"""One target through all phases: started on a core of its own, put under load from another."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks.load import Plan, chat_request
from benchmarks.processes import Process, busy_seconds, now
from benchmarks.targets import CHECKOUT, HOME, UPSTREAM_KEY, UPSTREAM_PORT, Target

#: The core of whatever is measured, and the one of the stub, the load and a target's services.
_GATEWAY_CORE, _LOAD_CORE = 0, 1
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH")

Report: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: seconds of each phase and of warming up, slow streams that are held open at once."""

    seconds: float = 3.0
    warm: float = 1.5
    streams: int = 1000
    concurrency: int = 64
    drain: float = 5.0


class Bench:
    """The stub, the load, and the target under test."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._logs = HOME / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        stub = [sys.executable, "-m", "benchmarks.stub", "--port", str(UPSTREAM_PORT), "--key", UPSTREAM_KEY]
        self._stub = self._process("stub", stub, _LOAD_CORE)
        self._target: Target
        self._gateway: Process | None = None
        self._services: list[Process] = []

    def close(self) -> None:
        self._stub.stop()

    def measure(self, target: Target, *, held: bool) -> Report:
        """Every phase, once; ``held`` says whether to hold slow streams open at the end.

        Raises:
            RuntimeError: it does not start, or the load generator failed.
        """
        try:
            result: Report = {"cold": self._start(target), "idle_bytes": self._memory()}
            result |= self._conformance(target)
            self._phases(target, result, lenient=bool(result["faults"]))
            result["warm_bytes"] = self._memory()
            result["service_bytes"] = sum(service.memory() for service in self._services)
            if held and self._effort.streams and target.runs:
                result["held"] = self._hold(target, lenient=bool(result["faults"]))
            return result
        finally:
            self._stop()

    # --- phases ---------------------------------------------------------------------------------------------------

    def _conformance(self, target: Target) -> Report:
        """What one client sees: whether the key is checked, and whether the answers are complete."""
        plain = self._load(target, "stub", concurrency=1, seconds=0.001)
        stream = self._load(target, "stub-c100", concurrency=1, seconds=0.001, stream=True)
        wrong = _post(target, {name: "Bearer sk-wrong" for name in target.headers() if name == "Authorization"})
        return {"wrong_key_status": wrong, "faults": sorted({*plain["errors"], *stream["errors"]})}

    def _phases(self, target: Target, result: Report, *, lenient: bool) -> None:
        effort = self._effort
        many, some, seconds = effort.concurrency, effort.concurrency // 2, effort.seconds
        common: Report = {"lenient": lenient, "drain": effort.drain}
        self._load(target, "stub", concurrency=many, seconds=effort.warm, **common)
        self._load(target, "stub-c100", concurrency=some, seconds=effort.warm, stream=True, **common)
        common["seconds"] = seconds
        result["plain"] = self._load(target, "stub", concurrency=many, **common)
        result["rate50"] = self._load(target, "stub", rate=50, **common)
        result["rate200"] = self._load(target, "stub", rate=200, **common)
        result["stream"] = self._load(target, "stub-c100", concurrency=some, stream=True, **common)
        result["paced"] = self._load(target, "stub-c25-i20", rate=20, stream=True, **common)

    def _hold(self, target: Target, *, lenient: bool) -> Report:
        streams = self._effort.streams
        ramp, model = (4, "stub-c20-i1000") if streams > 500 else (2, "stub-c5-i1000")
        rate = streams / ramp
        return self._load(target, model, rate=rate, seconds=ramp, stream=True, drain=40, watch=True, lenient=lenient)

    def _load(self, target: Target, model: str, *, watch: bool = False, **plan: Any) -> Report:
        """One run of the load generator; its report, with what the target used meanwhile."""
        whole = Plan(target.url, model, target.headers(), **plan)
        command = ["taskset", "-c", str(_LOAD_CORE), sys.executable, "-m", "benchmarks.load", json.dumps(asdict(whole))]
        began, cpu, everyone = now(), self._cpu(), busy_seconds((_GATEWAY_CORE,))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
        memory = 0
        while watch and process.poll() is None:
            memory = max(memory, self._memory())
            time.sleep(0.25)
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the load generator failed against {target.name}")
        used, wall = self._cpu() - cpu, now() - began
        foreign = busy_seconds((_GATEWAY_CORE,)) - everyone - used
        report: Report = json.loads(output)
        return report | {"cpu": used, "busy": used / wall, "foreign": max(foreign / wall, 0.0), "memory": memory}

    # --- processes ------------------------------------------------------------------------------------------------

    def _start(self, target: Target) -> float:
        """Start a target; the seconds until it answers a request."""
        self._target, self._services, self._gateway = target, [], None
        target.home.mkdir(parents=True, exist_ok=True)
        for number, command in enumerate(target.services()):
            self._services.append(self._process(f"{target.name}-service-{number}", command, _LOAD_CORE, target))
        if self._services:
            time.sleep(0.5)
        target.configure()
        began = now()
        if target.runs:
            self._gateway = self._process(target.name, target.command(), _GATEWAY_CORE, target)
        while now() - began < 60 and (self._gateway is None or self._gateway.is_alive):
            if _post(target, target.headers()) == 200:
                return now() - began
            time.sleep(0.005)
        raise RuntimeError(f"{target.name} does not answer, see {self._logs / target.name}.log")

    def _stop(self) -> None:
        for process in (self._gateway, *self._services):
            if process is not None:
                process.stop()

    def _process(self, name: str, command: list[str], core: int, target: Target | None = None) -> Process:
        environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
        return Process(
            command,
            core,
            self._logs / f"{name}.log",
            cwd=target.directory() if target is not None and name == target.name else CHECKOUT,
            env=environment | (target.environment() if target is not None else {}),
        )

    def _cpu(self) -> float:
        return self._gateway.cpu() if self._gateway is not None else 0.0

    def _memory(self) -> int:
        return self._gateway.memory() if self._gateway is not None else 0


def _post(target: Target, headers: dict[str, str]) -> int:
    """Send one request; the status of the answer, 0 where there is none."""
    body = chat_request(Plan(target.url, "stub", {})).partition(b"\r\n\r\n")[2]
    request = Request(target.url, body, {"Content-Type": "application/json"} | target.headers() | headers)
    try:
        with urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return 0
