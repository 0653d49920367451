"""From reports to a table: medians over the rounds, with the least and the most, and ratios to each target."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.measuring import Report

#: The figures of one target in one round, by metric.
Figures: TypeAlias = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table; ``relative`` where a ratio says something."""

    key: str
    title: str
    form: str = "{:.2f}"
    relative: bool = True


METRICS = (
    Metric("rps", "requests/s, 64 in flight", "{:,.0f}"),
    Metric("rps_p50", "latency of them, p50, ms"),
    Metric("rps_p99", "latency of them, p99, ms"),
    Metric("cpu_request", "CPU ms a request", "{:.3f}"),
    Metric("added50_p50", "added latency at 50/s, p50, ms"),
    Metric("added50_p99", "added latency at 50/s, p99, ms"),
    Metric("added200_p50", "added latency at 200/s, p50, ms"),
    Metric("added200_p99", "added latency at 200/s, p99, ms"),
    Metric("chunks", "chunks/s, 32 streams", "{:,.0f}"),
    Metric("cpu_chunks", "CPU s per 100,000 chunks, at once"),
    Metric("cpu_paced", "CPU s per 100,000 chunks, 20 ms apart"),
    Metric("ttft_p50", "added time to first chunk, p50, ms"),
    Metric("ttft_p99", "added time to first chunk, p99, ms"),
    Metric("gap_p99", "gap between chunks 20 ms apart, p99, ms", relative=False),
    Metric("idle", "memory idle, MB", "{:,.0f}"),
    Metric("warm", "memory after the load, MB", "{:,.0f}"),
    Metric("held", "memory with slow streams open, MB", "{:,.0f}"),
    Metric("held_open", "slow streams open at once", "{:,.0f}", relative=False),
    Metric("held_ok", "slow streams complete, %", "{:.1f}", relative=False),
    Metric("services", "memory of its services, MB", "{:,.0f}", relative=False),
    Metric("cold", "cold start, s"),
    Metric("errors", "errors in all phases", "{:,.0f}", relative=False),
    Metric("foreign", "CPU of others on its core, worst phase, %", "{:.0f}", relative=False),
)
_PHASES = ("plain", "rate50", "rate200", "stream", "paced")


def figures(result: Report, direct: Report) -> Figures:
    """One round of one target; ``direct`` is the same round without a gateway."""
    plain, stream, paced = result["plain"], result["stream"], result["paced"]
    runs = result["idle_bytes"] > 0
    found: Figures = {
        "rps": plain["per_second"],
        "rps_p50": plain["latency"]["p50"],
        "rps_p99": plain["latency"]["p99"],
        "cpu_request": _per(plain["cpu"], plain["ok"], 1_000),
        "chunks": stream["chunks_per_second"],
        "cpu_chunks": _per(stream["cpu"], stream["chunks"], 100_000),
        "cpu_paced": _per(paced["cpu"], paced["chunks"], 100_000),
        "gap_p99": paced["gap"]["p99"],
        "idle": result["idle_bytes"] / 1e6 if runs else None,
        "warm": result["warm_bytes"] / 1e6 if runs else None,
        "services": result["service_bytes"] / 1e6 or None,
        "cold": result["cold"] if runs else None,
        "errors": sum(sum(result[phase]["errors"].values()) for phase in _PHASES),
        "foreign": max(result[phase]["foreign"] for phase in _PHASES) * 100 if runs else None,
    }
    for share in ("p50", "p99"):
        found[f"ttft_{share}"] = _added(paced, direct["paced"], "first_chunk", share)
        for rate in ("50", "200"):
            found[f"added{rate}_{share}"] = _added(result[f"rate{rate}"], direct[f"rate{rate}"], "latency", share)
    return found | _held(result.get("held"))


def problems(rounds: Sequence[Mapping[str, Report]]) -> list[str]:
    """What was wrong with answers, a line for each target and kind."""
    told = []
    for number, results in enumerate(rounds, 1):
        for name, result in results.items():
            told += [f"round {number}, {name}: {fault}" for fault in result["faults"]]
            for phase in (*_PHASES, "held"):
                errors = result.get(phase, {}).get("errors", {})
                told += [f"round {number}, {name}, {phase}: {count} times {kind}" for kind, count in errors.items()]
    return told


def table(rounds: Sequence[Mapping[str, Report]], base: str | None) -> str:
    """A Markdown table: a row for each metric, a column for each target; then the ratios of ``base`` to each."""
    names = list(dict.fromkeys(name for results in rounds for name in results))
    known = {name: [figures(r[name], r.get("direct", r[name])) for r in rounds if name in r] for name in names}
    rows = [_row(metric, known) for metric in METRICS]
    lines = [["", *names], ["---", *("---:" for _ in names)], *rows]
    if base in known:
        lines += [[], [f"{base} ÷", *names], ["---", *("---:" for _ in names)]]
        lines += [_ratios(metric, known, base) for metric in METRICS if metric.relative]
    return "\n".join(f"| {' | '.join(cells)} |" if cells else "" for cells in lines)


def _row(metric: Metric, known: Mapping[str, Sequence[Figures]]) -> list[str]:
    return [metric.title, *(_cell(metric, _values(each, metric.key)) for each in known.values())]


def _cell(metric: Metric, values: list[float]) -> str:
    if not values:
        return "-"
    middle = metric.form.format(statistics.median(values))
    if min(values) == max(values):
        return middle
    return f"{middle} ({metric.form.format(min(values))} to {metric.form.format(max(values))})"


def _ratios(metric: Metric, known: Mapping[str, Sequence[Figures]], base: str) -> list[str]:
    ours = _values(known[base], metric.key)
    return [metric.title, *(_ratio(ours, _values(each, metric.key)) for each in known.values())]


def _ratio(ours: list[float], theirs: list[float]) -> str:
    if not ours or not theirs or min(statistics.median(ours), statistics.median(theirs)) <= 0:
        return "-"
    return f"{statistics.median(ours) / statistics.median(theirs):.3g}"


def _values(each: Sequence[Figures], key: str) -> list[float]:
    return [value for found in each if (value := found.get(key)) is not None]


def _per(cpu: float, count: int, unit: int) -> float | None:
    return cpu / count * unit if count and cpu else None


def _added(ours: Report, direct: Report, field: str, share: str) -> float | None:
    with_it, without = ours[field][share], direct[field][share]
    return None if with_it is None or without is None else with_it - without


def _held(held: Report | None) -> Figures:
    if held is None:
        return {}
    return {
        "held": held["memory"] / 1e6,
        "held_open": held["peak_active"],
        "held_ok": held["ok"] / held["requests"] * 100,
    }
