"""Runs and their work between replicas of different releases: what the other does not know does no harm."""

import orjson

from adapters.redis.records import record_of, run_of, work_of, work_text
from tests.contracts.runs import WORK, new_run


def test_work_of_a_newer_release_is_read_without_what_is_not_known_here() -> None:
    kept = orjson.loads(work_text(WORK))

    newer = kept | {"of_tomorrow": 1, "request": kept["request"] | {"of_tomorrow": 1}}

    assert work_of(orjson.dumps(newer)) == WORK


def test_work_of_an_older_release_has_what_it_lacks_as_if_nobody_had_set_it() -> None:
    kept = orjson.loads(work_text(WORK))

    older = {name: value for name, value in kept.items() if name not in ("traceparent", "named", "cache_name")}

    assert work_of(orjson.dumps(older)) == WORK


def test_a_record_of_a_newer_release_is_read_without_what_is_not_known_here() -> None:
    run = new_run()
    words = [word if isinstance(word, bytes) else str(word).encode() for word in record_of(run)]

    newer = dict(zip(words[::2], words[1::2], strict=True)) | {b"of_tomorrow": b"1"}

    assert run_of(newer) == run
