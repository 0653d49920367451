"""Facts as log lines: what they look like, that they are one line each, and that they tell nothing they must not."""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from adapters.journal import forms
from adapters.journal.forms import MAX_LINE
from adapters.journal.journal import LoguruJournal
from adapters.journal.sinks import configure_logging
from domain.facts import (
    CompletionRequested,
    Fact,
    RecordFailed,
    RequestServed,
    RunEnded,
    SecretsUnreadable,
    SettlementFailed,
    Unexpected,
)
from domain.ports import Journal

SECRET = "sk-the-prompt-of-somebody"
SERVED = RequestServed(
    request_id="req-1",
    method="POST",
    route="/<scope>/v1/chat/completions",
    status_code=200,
    duration_ms=12.34567,
    tenant="acme",
    provider="openai",
    model="gpt-5",
    run_id="job-1",
    prompt_tokens=10,
    completion_tokens=20,
    charged_tokens=30,
)
ENDED = RunEnded("job-1", "acme", "openai", "gpt-5", "completed", 1.5, 30)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the process's loggers as they were."""
    known = [
        logging.root,
        *(each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)),
    ]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in known]
    yield
    logger.remove()
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


Written = Callable[[], list[str]]


@pytest.fixture
def text() -> Written:
    return written_as("text")


@pytest.fixture
def objects() -> Callable[[], list[dict[str, Any]]]:
    lines = written_as("json")
    return lambda: [json.loads(line) for line in lines()]


def written_as(form: Literal["text", "json"], level: str = "INFO") -> Written:
    stream = io.StringIO()
    configure_logging(form, level, stream)
    return lambda: stream.getvalue().splitlines()


def record(*facts: Fact) -> None:
    journal: Journal = LoguruJournal()
    for fact in facts:
        journal.record(fact)


def failure(message: str = SECRET) -> Exception:
    """An exception with a cause, raised through a few frames."""
    with pytest.raises(LookupError) as caught:
        fail(message)
    return caught.value


def fail(message: str) -> None:
    try:
        int(message)
    except ValueError as error:
        raise LookupError(message) from error


# What the lines are.


def test_the_line_of_a_completion_is_exactly_the_one_of_the_seed(text: Written) -> None:
    record(CompletionRequested("acme", "job-01JF8ZQ4Y6B4T3M2N1K0H9G8F7"))

    [line] = text()
    stamp, rest = line.split(" ", 1)
    assert rest == "[INFO] Processing chat completion for acme:job-01JF8ZQ4Y6B4T3M2N1K0H9G8F7"
    assert len(stamp) == len("2026-11-20T10:00:00.000Z")
    assert abs(datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds() < 60


def test_times_are_universal() -> None:
    there = datetime(2026, 11, 20, 10, 30, 0, 123_999, timezone(timedelta(hours=5, minutes=30)))

    assert forms.text(there, "INFO", "Hello", {}, {}) == b"2026-11-20T05:00:00.123Z [INFO] Hello\n"


def test_the_same_message_is_a_field_in_json(objects: Callable[[], list[dict[str, Any]]]) -> None:
    record(CompletionRequested("acme", "job-1"))

    [line] = objects()
    assert list(line) == ["time", "level", "message", "tenant", "run_id"]
    assert line["message"] == "Processing chat completion for acme:job-1"
    assert (line["level"], line["tenant"], line["run_id"]) == ("INFO", "acme", "job-1")


def test_the_access_line_has_all_that_is_known(text: Written) -> None:
    record(SERVED)

    assert text()[0].partition(" ")[2] == (
        "[INFO] Request served request_id=req-1 tenant=acme provider=openai model=gpt-5 "
        "route=/<scope>/v1/chat/completions method=POST status_code=200 duration_ms=12.346 "
        "prompt_tokens=10 completion_tokens=20 charged_tokens=30 run_id=job-1"
    )


def test_the_access_line_has_the_same_fields_whatever_is_known(objects: Callable[[], list[dict[str, Any]]]) -> None:
    record(SERVED, RequestServed("req-2", "GET", "/healthz", 200, 0.5))

    full, bare = objects()
    assert list(full) == list(bare)
    assert (bare["tenant"], bare["charged_tokens"], bare["status_code"]) == (None, None, 200)


@pytest.mark.parametrize(
    ("fact", "level", "message"),
    [
        (ENDED, "INFO", "Run completed"),
        (
            RunEnded("job-1", "acme", "openai", "gpt-5", "failed", 1.5, 0, "upstream_timeout", "60 s"),
            "WARNING",
            "Run failed",
        ),
        (SettlementFailed("job-1", "acme", 7), "ERROR", "Settlement failed, the hold will lapse"),
        (RecordFailed("job-1", "acme"), "ERROR", "The end of a run was not recorded"),
        (SecretsUnreadable("acme", "damaged"), "ERROR", "A tenant's secrets cannot be opened"),
        (Unexpected("pump", failure()), "ERROR", "Unexpected error"),
    ],
)
def test_each_fact_has_its_level(
    objects: Callable[[], list[dict[str, Any]]], fact: Fact, level: str, message: str
) -> None:
    record(fact)

    [line] = objects()
    assert (line["level"], line["message"]) == (level, message)


def test_a_value_with_blanks_or_quotes_is_quoted(text: Written) -> None:
    record(RunEnded("job-1", "acme", "openai", "", "failed", 0.1234, 0, "upstream", 'it said "no=1" \\'))

    assert text()[0].endswith(
        'model="" seconds=0.123 charged_tokens=0 error_code=upstream detail="it said \\"no=1\\" \\\\"'
    )


def test_what_is_below_the_level_is_not_written() -> None:
    lines = written_as("text", "WARNING")

    record(SERVED, SettlementFailed("job-1", "acme", 7))

    assert [line.split(" ")[1] for line in lines()] == ["[ERROR]"]


# What they never tell.


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_unexpected_error_tells_its_type_and_its_frames_alone(form: Literal["text", "json"]) -> None:
    lines = written_as(form)

    record(Unexpected("pump", failure(), "req-1"))

    [line] = lines()
    assert SECRET not in line
    assert "LookupError at adapters/journal/test_journal.py:" in line
    assert ":fail, from ValueError at adapters/journal/test_journal.py:" in line
    assert "req-1" in line


def test_a_group_tells_of_its_members(objects: Callable[[], list[dict[str, Any]]]) -> None:
    record(Unexpected("pump", ExceptionGroup(SECRET, [failure(), OSError(SECRET)])))

    [line] = objects()
    assert line["error"] == "ExceptionGroup"
    assert [part.split(" ")[0] for part in line["trace"].split(", from ")] == [
        "ExceptionGroup",
        "LookupError",
        "OSError",
        "ValueError",
    ]


def test_a_hidden_context_stays_hidden(objects: Callable[[], list[dict[str, Any]]]) -> None:
    error = failure()
    error.__cause__ = None
    error.__suppress_context__ = True

    record(Unexpected("pump", error))

    assert "ValueError" not in objects()[0]["trace"]


def test_a_circle_of_exceptions_and_an_endless_recursion_end(objects: Callable[[], list[dict[str, Any]]]) -> None:
    def endless() -> None:
        endless()

    one, other = ValueError(SECRET), KeyError(SECRET)
    one.__context__, other.__context__ = other, one
    with pytest.raises(RecursionError) as deep:
        endless()

    record(Unexpected("pump", one), Unexpected("pump", deep.value))

    first, second = objects()
    assert first["trace"] == "ValueError at no frame, from KeyError at no frame"
    assert second["trace"].count(":endless") == 15


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "value", [{"content": SECRET}, [SECRET], ValueError(SECRET), CompletionRequested(SECRET, SECRET)]
)
def test_an_object_in_the_fields_is_told_by_its_type_alone(form: Literal["text", "json"], value: object) -> None:
    lines = written_as(form)

    logger.bind(body=value).info("Done")

    assert SECRET not in lines()[0]
    assert type(value).__name__ in lines()[0]


def test_an_exception_given_to_the_log_directly_tells_no_more(objects: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        raise failure()
    except LookupError:
        logger.exception("Something went wrong")

    [line] = objects()
    assert line["error"] == "LookupError"
    assert SECRET not in json.dumps(line)


# One line each, whatever is in it.


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_in_a_value_can_begin_another_line(form: Literal["text", "json"]) -> None:
    evil = "x\r\n2026-11-20T10:00:00.000Z [INFO] Forged\u2028\x85\x1b[2J\x7f\u202e\0"
    lines = written_as(form)

    record(RunEnded("job-1", "acme", "openai", evil, "completed", 1.5, 30), CompletionRequested(evil, "job-2"))

    assert len(lines()) == 2
    assert all(line.isprintable() for line in lines())


def test_braces_and_percents_are_text_like_any(text: Written) -> None:
    record(CompletionRequested("{0}{name}%s{", "</red>"))

    assert text()[0].endswith("Processing chat completion for {0}{name}%s{:</red>")


TEXT = st.text(st.characters())
FIELDS = st.dictionaries(
    TEXT,
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(2**64),
    max_size=20,
)


@given(TEXT, FIELDS, st.integers(1, 3000))
def test_any_line_is_printable_and_short_enough(message: str, fields: dict[str, Any], repeat: int) -> None:
    now = datetime.now(UTC)
    fields = fields | {"detail": message * repeat}

    for form in forms.FORMS.values():
        line = form(now, "INFO", message, {}, fields)
        assert len(line) <= MAX_LINE
        assert line.endswith(b"\n")
        assert line[:-1].decode().isprintable()
    assert json.loads(forms.json(now, "INFO", message, {}, fields))["level"] == "INFO"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_long_value_is_cut_and_the_others_are_not(form: Literal["text", "json"]) -> None:
    lines = written_as(form)

    record(RunEnded("job-1", "acme", "openai", "m" * 100_000, "failed", 1.5, 30, "upstream_timeout"))

    [line] = lines()
    assert "m" * 256 in line
    assert len(line) < MAX_LINE
    assert "upstream_timeout" in line


# Where they go, and that nobody has to wait for them.


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def test_a_log_that_nobody_reads_holds_nobody_up(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reading, stream = pipe
    configure_logging("json", "INFO", stream)

    for number in range(2000):
        record(RecordFailed(f"job-{number}", "acme"))
    kept = os.read(reading, 1 << 20).splitlines()
    record(ENDED, ENDED)
    lost, ended, _ = (json.loads(line) for line in os.read(reading, 1 << 20).splitlines())

    assert [json.loads(line)["run_id"] for line in kept] == [f"job-{number}" for number in range(len(kept))]
    assert (lost["message"], lost["lost"]) == ("Log lines were lost", 2000 - len(kept))
    assert ended["message"] == "Run completed"


def test_a_reader_that_left_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        configure_logging("text", "INFO", stream)
        os.close(reading)

        record(ENDED, SERVED)

    assert capsys.readouterr() == ("", "")


def test_a_closed_stream_is_never_written_to_by_its_number(pipe: tuple[int, io.TextIOWrapper]) -> None:
    _, stream = pipe
    number = stream.fileno()
    somebodys, other = os.pipe()
    configure_logging("text", "INFO", stream)
    stream.close()
    os.dup2(other, number)

    record(ENDED)
    os.close(number)
    os.close(other)

    with os.fdopen(somebodys) as received:
        assert received.read() == ""


def test_a_full_disk_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as stream:  # noqa: PTH123 - a device
        configure_logging("text", "INFO", stream)

        record(ENDED)

    assert capsys.readouterr() == ("", "")


def test_logging_is_set_up_once_however_often_it_is_asked_for(text: Written) -> None:
    lines = written_as("text")

    record(ENDED)

    assert len(lines()) == 1
    assert text() == []


# The standard library's loggers.


def test_libraries_are_heard_from_warning_on(text: Written, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sanic.error", "httpx", "redis", "asyncio", "brand.new"):
        logging.getLogger(name).info("HTTP Request: GET https://api.example/?key=%s", SECRET)
        logging.getLogger(name).debug(SECRET)
        logging.getLogger(name).warning("Pool is full")

    assert [line.partition(" ")[2] for line in text()] == [
        f"[WARNING] Pool is full logger={name}" for name in ("sanic.error", "httpx", "redis", "asyncio", "brand.new")
    ]
    assert capsys.readouterr() == ("", "")


def test_a_library_with_a_handler_of_its_own_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    own = logging.getLogger("sanic.root")
    own.addHandler(logging.StreamHandler())
    own.setLevel(logging.DEBUG)
    own.propagate = False
    lines = written_as("text")

    own.info("Goin' Fast")
    own.error("Failed")

    assert [line.partition(" ")[2] for line in lines()] == ["[ERROR] Failed logger=sanic.root"]
    assert capsys.readouterr() == ("", "")


def test_a_library_is_quoted_without_the_texts_it_met(text: Written) -> None:
    library = logging.getLogger("asyncio")

    library.error("Task exception was never retrieved\nfuture: <Task exception=ValueError('%s')>" % SECRET)  # noqa: UP031
    library.warning("Took %.2f s for %s in %d steps at 100 %%", 1.5, SECRET, 3)
    library.warning("%s", ValueError(SECRET))
    library.warning(ValueError(SECRET))
    library.warning("%(url)s", {"url": SECRET})

    assert SECRET not in "".join(text())
    assert text()[0].partition(" ")[2] == "[ERROR] Task exception was never retrieved logger=asyncio"
    assert "Took 1.50 s for … in 3 steps at 100 %" in text()[1]
    assert "[WARNING] ValueError" in text()[3]


def test_a_librarys_mistake_is_not_ours(text: Written) -> None:
    record = logging.LogRecord("asyncio", logging.WARNING, "", 0, "%d of %s", (SECRET,), None)

    logging.root.handlers[0].handle(record)

    assert text()[0].endswith("[WARNING] %d of %s logger=asyncio")


def test_a_librarys_exception_is_told_by_its_frames(objects: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        raise failure()
    except LookupError:
        logging.getLogger("redis").exception("Connection lost")

    [line] = objects()
    assert (line["error"], line["logger"], line["message"]) == ("LookupError", "redis", "Connection lost")
    assert SECRET not in json.dumps(line)


def test_a_level_of_a_librarys_own_keeps_its_place(text: Written) -> None:
    logging.getLogger("redis").log(35, "Odd")

    assert text()[0].partition(" ")[2] == "[Level 35] Odd logger=redis"
