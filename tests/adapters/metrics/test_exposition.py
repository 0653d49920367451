"""The numbers as Prometheus reads them."""

import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from adapters.metrics.exposition import Exposition
from adapters.metrics.tables import Counts, Level, Spread

pytestmark = pytest.mark.anyio


def an_exposition() -> Exposition:
    counts, spread = Counts("sluice_asked_total", "Asked", ("code",)), Spread("sluice_seconds", "Time", (), (1.0, 2.0))
    counts.add(('a "quoted"\\\n',), 3)
    for value in (0.5, 1.5, 9.0):
        spread.observe((), value)
    level = Level("sluice_open", "Open")
    return Exposition((counts, spread), lambda: [level.at(7)])


@pytest.mark.parametrize(
    ("accept", "content_type", "reader"),
    [
        ("", "text/plain", parse),
        ("text/plain;version=0.0.4", "text/plain", parse),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", parse_openmetrics),
        ("application/openmetrics-text;version=x,*/*", "application/openmetrics-text", parse_openmetrics),
    ],
)
async def test_a_reader_gets_the_numbers_in_a_form_that_it_takes(
    accept: str, content_type: str, reader: object
) -> None:
    body, told = await an_exposition().tell(accept)

    assert callable(reader)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in reader(body.decode())
        for sample in family.samples
    }
    assert told.startswith(content_type)
    assert samples["sluice_asked_total", 'a "quoted"\\\n'] == 3
    assert [samples["sluice_seconds_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    assert (samples[("sluice_seconds_sum",)], samples[("sluice_seconds_count",)]) == (11.0, 3)
    assert samples[("sluice_open",)] == 7


async def test_process_and_python_are_told_of_beside_them() -> None:
    body, _ = await an_exposition().tell("")

    names = {family.name for family in parse(body.decode())}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections", "python_info"} <= names


async def test_levels_are_read_in_the_loops_thread() -> None:
    threads: list[threading.Thread] = []

    def read() -> list[Level]:
        threads.append(threading.current_thread())
        return []

    await Exposition((), read).tell("")

    assert threads == [threading.main_thread()]
