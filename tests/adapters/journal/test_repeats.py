"""An error that repeats itself is one line in an interval; nothing else is left out, and nothing is forgotten."""

import io
import logging
from collections.abc import Iterator

import pytest
from loguru import logger

from adapters.journal.repeats import _MAX_CAUSES, INTERVAL, Entry, Repeats
from adapters.journal.sinks import configure_logging

CAUSE = {"where": "run", "error": "ValueError", "trace": "ValueError at x.py:1:f"}


def defect(at: float, **changes: object) -> Entry:
    return Entry(at, "ERROR", "Unexpected error", {"request_id": f"req-{at:g}", **CAUSE, **changes})


def served(at: float) -> Entry:
    return Entry(at, "INFO", "Request served", {"request_id": "req-0"})


def test_of_one_cause_the_first_is_written() -> None:
    repeats = Repeats()

    written = [repeats.passed(defect(at)) for at in (0.0, 0.1, INTERVAL - 0.1)]

    assert written == [(defect(0.0),), (), ()]


def test_the_next_after_the_interval_tells_how_many_were_left_out() -> None:
    repeats = Repeats()
    for at in (0.0, 1.0, 2.0):
        repeats.passed(defect(at))

    (line,) = repeats.passed(defect(INTERVAL))

    assert line.fields == {**defect(INTERVAL).fields, "left_out": 2}
    assert repeats.passed(defect(2 * INTERVAL)) == (defect(2 * INTERVAL),), "it begins at nothing again"


def test_where_none_comes_any_line_after_the_interval_brings_the_report() -> None:
    repeats = Repeats()
    for at in (0.0, 1.0, 2.0):
        repeats.passed(defect(at))

    during = repeats.passed(served(5.0))
    after = repeats.passed(served(INTERVAL))
    later = repeats.passed(served(INTERVAL + 1))

    report = Entry(INTERVAL, "ERROR", "Unexpected error", {**CAUSE, "left_out": 2})
    assert (during, after, later) == ((served(5.0),), (report, served(INTERVAL)), (served(INTERVAL + 1),))


@pytest.mark.parametrize("other", [{"where": "queue"}, {"error": "KeyError"}, {"trace": "ValueError at y.py:2:g"}])
def test_another_cause_is_written(other: dict[str, object]) -> None:
    repeats = Repeats()
    repeats.passed(defect(0.0))

    assert repeats.passed(defect(1.0, **other)) == (defect(1.0, **other),)


def test_numbers_in_a_librarys_words_are_no_difference() -> None:
    repeats = Repeats()

    first, second = (
        Entry(at, "WARNING", f"Executing took {at} seconds", {"logger": "asyncio"}) for at in (0.125, 0.25)
    )

    assert (repeats.passed(first), repeats.passed(second)) == ((first,), ())


def test_lines_without_a_cause_are_all_written() -> None:
    repeats = Repeats()
    owed = Entry(0.0, "ERROR", "Settlement failed, the hold will lapse", {"run_id": "job-1", "cost_tokens": 10})

    assert [repeats.passed(owed) for _ in range(3)] == [(owed,)] * 3


def test_causes_without_end_fill_no_memory_and_are_written() -> None:
    repeats = Repeats()

    written = [repeats.passed(defect(1.0, where=f"place-{chr(97 + n % 26)}" * (n + 1))) for n in range(2 * _MAX_CAUSES)]

    assert all(written)
    assert len(repeats._said) == _MAX_CAUSES


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    configure_logging("text", "INFO", stream)
    yield stream
    logger.remove()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_the_log_of_a_storm_is_one_line(log: io.StringIO) -> None:
    for _ in range(100):
        logging.getLogger("asyncio").error("Task exception was never retrieved")

    assert log.getvalue().count("Task exception was never retrieved") == 1
