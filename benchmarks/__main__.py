"""Measures gateways side by side: ``make bench``, or ``python -m benchmarks --targets direct,gateway``.

Each round starts every target in turn, A B C, A B C. Ends with status 1 where an answer was wrong, never over a figure.
"""

import argparse
import json
import os
import platform
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measuring import Bench, Effort, Report
from benchmarks.table import problems, table
from benchmarks.targets import TARGETS, Target

_QUICK = Effort(seconds=1.0, warm=0.5, streams=100, drain=5.0)
#: Open files that a thousand streams take, on both sides.
_FILES = 16_384


def main() -> None:
    options = _options()
    if (os.cpu_count() or 1) < 2:
        sys.exit("two cores are needed: one for what is measured, one for the load")
    chosen = [TARGETS[name]() for name in options.targets.split(",")]
    for target in chosen:
        _require(target, install=options.install)
    _allow_files()
    effort = _QUICK if options.quick else Effort(streams=options.streams)
    rounds = _measure(chosen, effort, 1 if options.quick else options.rounds)
    print(_machine(), table(rounds, "gateway"), sep="\n\n")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": _machine(), "rounds": rounds}, indent=1))
    wrong = problems(rounds)
    if wrong:
        sys.exit("\n".join(["", *wrong]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure gateways side by side.")
    parser.add_argument("--targets", default="direct,nginx,gateway", help=f"some of {','.join(TARGETS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1000, help="slow streams to hold open in the last round")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--install", action="store_true", help="install peers that are missing")
    parser.add_argument("--json", type=Path, help="write every figure here, too")
    return parser.parse_args()


def _require(target: Target, *, install: bool) -> None:
    if target.installed():
        return
    if not install:
        sys.exit(f"{target.name} is not installed; leave it out with --targets, or try --install")
    target.home.mkdir(parents=True, exist_ok=True)
    target.install()


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _measure(chosen: list[Target], effort: Effort, count: int) -> list[dict[str, Report]]:
    rounds: list[dict[str, Report]] = []
    bench = Bench(effort)
    try:
        for number in range(1, count + 1):
            rounds.append({})
            for target in chosen:
                result = bench.measure(target, held=number == count)
                rounds[-1][target.name] = result
                rate = result["plain"]["per_second"]
                print(f"round {number}, {target.name}: {rate:,.0f} requests/s", file=sys.stderr, flush=True)
    finally:
        bench.close()
    return rounds


def _machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    name = model.partition(":")[2].strip() or platform.machine()
    when = datetime.now(UTC).date().isoformat()
    return f"{os.cpu_count()} cores of {name}, Linux {platform.release()}, Python {platform.python_version()}, {when}"


if __name__ == "__main__":
    main()
