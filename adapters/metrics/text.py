"""Tables in Prometheus's text format, and in OpenMetrics, which for them differs in a counter's name alone. Pure.

prometheus-client writes the same ten times slower, which with a thousand series is half a second of a core.
https://prometheus.io/docs/instrumenting/exposition_formats/
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from adapters.metrics.tables import Counts, Level, Row, Spread

_TYPES = {Counts: "counter", Spread: "histogram", Level: "gauge"}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text_of(source: Counts | Spread | Level, *, openmetrics: bool) -> str:
    """A table with its head; the lines end with newlines."""
    name = source.name.removesuffix("_total") if openmetrics else source.name
    lines = _spread(source) if isinstance(source, Spread) else _counted(source)
    return f"# HELP {name} {source.help}\n# TYPE {name} {_TYPES[type(source)]}\n" + "".join(lines)


def _counted(source: Counts | Level) -> Iterator[str]:
    for row, value in source.rows.items():
        labels = _labels(source.labels, row)
        yield f"{source.name}{{{labels}}} {value}\n" if labels else f"{source.name} {value}\n"


def _spread(source: Spread) -> Iterator[str]:
    name = source.name
    bounds = [*map(str, source.bounds), "+Inf"]
    for row, cells in source.rows.items():
        labels = _labels(source.labels, row)
        before, alone = (f"{labels},", f"{{{labels}}}") if labels else ("", "")
        counts = list(accumulate(cells[:-1]))
        yield "".join(
            [f'{name}_bucket{{{before}le="{le}"}} {count}\n' for le, count in zip(bounds, counts, strict=True)]
        )
        yield f"{name}_count{alone} {counts[-1]}\n{name}_sum{alone} {cells[-1]}\n"


def _labels(names: Sequence[str], row: Row) -> str:
    return ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, row, strict=True)])
