"""A browser's EventSource comes back by itself, as often as its connection is lost."""

from pathlib import Path

import pytest

from tests.clients.chromium import browsing
from tests.clients.front import Cut, Front

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGE = Path(__file__).parent / "eventsource.html"
MODEL = "words-n12-i50"
#: Seconds after which a page is not going to tell anything any more.
DEADLINE = 60.0


@pytest.mark.parametrize("cuts", [[1], [0, 2, 12]], ids=str)
def test_it_goes_on_where_it_stopped_and_ends_with_the_whole_text(
    backend: Front, tmp_path: Path, cuts: list[int]
) -> None:
    # The first stream is the answer to the POST, whose body the page does not read. Of the last cuts, the first comes
    # before any event and the last just before [DONE].
    backend.cuts = [None, *map(Cut, cuts)]
    page = backend.serve("/", PAGE.read_text())

    with browsing(f"{page}?model={MODEL}", tmp_path):
        told = backend.told.get(timeout=DEADLINE)

    assert told["text"] == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11"
    assert (told["reason"], told["ends"], told["error"]) == ("stop", 1, None)
    assert len(told["ids"]) == len(set(told["ids"]))
    assert [stream.status for stream in backend.streams] == [200] * (len(cuts) + 1) + [204]


def test_it_names_the_last_event_that_it_saw_whole_and_stops_at_204(backend: Front, tmp_path: Path) -> None:
    backend.cuts = [None, Cut(5), Cut(3, cleanly=True)]
    page = backend.serve("/", PAGE.read_text())

    with browsing(f"{page}?model={MODEL}", tmp_path):
        told = backend.told.get(timeout=DEADLINE)

    streams = backend.streams
    ids = told["ids"]
    assert [stream.headers.get("Last-Event-ID") for stream in streams] == [None, ids[4], ids[7], ids[-1]]
    assert [stream.status for stream in streams] == [200, 200, 200, 204]
