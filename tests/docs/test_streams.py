"""What is said of streams is what the code does, and what the other pages say."""

import re

from domain import runs
from domain.errors import CursorAhead, GenerationRestarted, InvalidCursor, StreamExpired, UnknownCompletion
from entrypoints.http import sse
from tests.docs.pages import codes, page

STREAMS = page("docs/streams.md")
SURFACES = page("docs/surfaces.md")


def test_the_cursors_are_those_of_the_surfaces() -> None:
    ours = STREAMS.section("Coming back").rows("cursor", "answer")
    theirs = SURFACES.section("Fetching and resuming").rows("cursor", "answer")

    answers = {_gist(row["answer"]) for row in ours}

    assert answers == {_gist(row["answer"]) for row in theirs}
    told = {code for row in ours for code in codes(row["answer"])}
    assert {
        each.code for each in (CursorAhead, GenerationRestarted, InvalidCursor, StreamExpired, UnknownCompletion)
    } <= told


def test_the_states_are_those_of_the_surfaces() -> None:
    ours = [row["status"] for row in STREAMS.section("States").rows("status", "the stream")]

    theirs = [row["status"] for row in SURFACES.section("Fetching and resuming").rows("status", "the rest of the body")]

    assert ours == theirs


def test_the_example_of_a_stream_is_one() -> None:
    (example,) = STREAMS.section("Events").blocks("")
    ids = re.findall(r"^id: (\S+):1-(\d+)$", example, re.MULTILINE)

    assert example.startswith(sse.KEEP_ALIVE.decode() + sse._RETRY.decode())
    assert all(runs.is_run_id(run_id) for run_id, _ in ids)
    assert [int(number) for _, number in ids] == [1, 1 + runs.END_PLACE]


def _gist(answer: str) -> str:
    """Status and code, or the words where it has none."""
    found = re.match(r"\d{3}(?: `\w+`)?", answer)
    return found[0] if found is not None else answer
