"""A run's id, its states, its record as others may see it, and the cursor into its log."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CursorAhead, GenerationRestarted, InvalidCursor, Kind, ProviderRateLimited, SluiceError
from domain.runs import (
    END_PLACE,
    NEXT,
    ULID_ENTROPY,
    USAGE_PLACE,
    Cursor,
    RunError,
    Status,
    conversation_after,
    conversation_shard,
    first_run_of,
    is_run_id,
    is_terminal,
    parse_cursor,
    require_place,
    shard_of,
    ulid,
    with_shard,
)
from tests.builders import NOW, RUN_ID, a_run

entropy = st.binary(min_size=ULID_ENTROPY, max_size=ULID_ENTROPY)

# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "random", "expected"),
    [
        # The moment of the specification's own example. https://github.com/ulid/spec
        (1469918176.385, b"\x00" * 10, "01ARYZ6S410000000000000000"),
        (0.0, b"\x00" * 9 + b"\x1f", "0000000000000000000000000Z"),
        (281474976710.655, b"\xff" * 10, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
    ],
)
def test_a_ulid_is_its_moment_in_milliseconds_and_its_random_part(now: float, random: bytes, expected: str) -> None:
    assert ulid(now, random) == expected


@given(st.integers(0, 2**48 - 2), entropy, entropy)
def test_ulids_sort_by_their_moments(ms: int, one: bytes, other: bytes) -> None:
    assert ulid((ms + 0.5) / 1000, one) < ulid((ms + 1.5) / 1000, other)


@given(entropy)
def test_the_whole_random_part_is_in_the_id(random: bytes) -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

    said = ulid(NOW, random)[10:]

    value = sum(alphabet.index(digit) << 5 * place for place, digit in enumerate(reversed(said)))
    assert value.to_bytes(10, "big") == random


@pytest.mark.parametrize("text", [RUN_ID, "job-01ARYZ6S410000000000000000", "chatcmpl-7ZZZZZZZZZZZZZZZZZZZZZZZZZ"])
def test_a_run_id_is_a_prefix_and_a_ulid(text: str) -> None:
    assert is_run_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job-",
        "chatcmpl-",
        "01ARYZ6S410000000000000000",
        "conv-01ARYZ6S410000000000000000",
        "job-01ARYZ6S41000000000000000",
        "job-01ARYZ6S4100000000000000000",
        "job-81ARYZ6S410000000000000000",
        "job-01aryz6s410000000000000000",
        "job-01ARYZ6S41000000000000000U",
        "job-01ARYZ6S410000000000000000\n",
        "JOB-01ARYZ6S410000000000000000",
        "job-01ARYZ6S41000000000000000\uff10",
    ],
)
def test_nothing_else_is_a_run_id(text: str) -> None:
    assert not is_run_id(text)


# --- shards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "shard"), [("0", 0), ("9", 9), ("F", 15), ("G", 0), ("H", 1), ("Z", 15)])
def test_a_run_says_in_its_last_four_bits_where_it_lives(last: str, shard: int) -> None:
    assert shard_of(RUN_ID[:-1] + last) == shard


@given(entropy, st.integers(0, 15))
def test_a_run_can_be_moved_to_any_shard_and_keeps_all_else(random: bytes, shard: int) -> None:
    before = "job-" + ulid(NOW, random)

    moved = with_shard(before, shard)

    assert is_run_id(moved)
    assert (shard_of(moved), moved[:-1]) == (shard, before[:-1])
    assert with_shard(moved, shard_of(before)) == before


def test_a_conversation_lives_in_one_shard_which_never_changes() -> None:
    assert [conversation_shard("acme", "ann", f"conv-{n}") for n in range(8)] == [2, 2, 7, 4, 9, 7, 0, 5]
    assert conversation_shard("acme", "ann", "x") != conversation_shard("acme", "bob", "x")


@given(st.text(), st.text(), st.text())
def test_every_conversation_has_a_shard(tenant: str, user: str, conversation: str) -> None:
    assert 0 <= conversation_shard(tenant, user, conversation) <= 15


def test_a_conversation_without_a_name_is_named_after_its_first_run_and_leads_back_to_it() -> None:
    conversation = conversation_after("chatcmpl-01ARYZ6S410000000000000000")

    assert conversation == "conv-01ARYZ6S410000000000000000"
    assert first_run_of(conversation) == "chatcmpl-01ARYZ6S410000000000000000"


@pytest.mark.parametrize("conversation", ["my-chat", "nothing", "", "conv-", "conv-x"])
def test_a_conversation_that_the_client_named_leads_to_no_run(conversation: str) -> None:
    assert not is_run_id(first_run_of(conversation))


# --- states -----------------------------------------------------------------------------------------------------------

QUEUED, IN_PROGRESS = Status.QUEUED, Status.IN_PROGRESS
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


def test_states_are_called_what_clients_are_told() -> None:
    assert [status.value for status in Status] == ["queued", "in_progress", "completed", "failed", "cancelled"]


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_a_run_takes_these_steps_and_no_others(before: Status, after: Status) -> None:
    steps = {
        (QUEUED, IN_PROGRESS),
        (QUEUED, FAILED),
        (QUEUED, CANCELLED),
        (IN_PROGRESS, QUEUED),
        (IN_PROGRESS, COMPLETED),
        (IN_PROGRESS, FAILED),
        (IN_PROGRESS, CANCELLED),
    }

    assert (after in NEXT[before]) is ((before, after) in steps)


@pytest.mark.parametrize("status", Status)
def test_an_ended_run_stays_ended(status: Status) -> None:
    assert is_terminal(status) is (status in {COMPLETED, FAILED, CANCELLED})


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "tenant", "user", "readable"),
    [
        (("staff", "ann"), "acme", "ann", True),
        (("staff", "ann"), "acme", "bob", False),
        (("staff", "ann"), "acme", None, False),
        (("staff", "ann"), "globex", "ann", False),
        (("anonymous", "ann"), "acme", "ann", True),
        (("anonymous", "ann"), "acme", None, False),
        (("staff", "anonymous-1"), "acme", None, False),
        (("anonymous", "anonymous-1"), "acme", "bob", True),
        (("anonymous", "anonymous-1"), "acme", None, True),
        (("anonymous", "anonymous-1"), "globex", None, False),
    ],
)
def test_a_run_is_its_users_and_one_of_nobodys_is_whoevers_in_the_tenant_knows_its_id(
    owner: tuple[str, str], tenant: str, user: str | None, readable: bool
) -> None:
    group, name = owner

    assert a_run(group=group, user=name).readable_by(tenant, user) is readable


def test_a_failure_is_told_again_as_it_was_told_first() -> None:
    first = ProviderRateLimited(retry_after=7.5)

    again = RunError.of(first).as_exception()

    assert (again.kind, again.code, again.message) == (Kind.PROVIDER_LIMITED, first.code, first.message)
    assert (again.param, again.retry_after) == (None, 7.5)


def test_a_failure_of_one_field_names_it_again() -> None:
    class Blames(SluiceError):
        kind = Kind.INVALID
        code = "invalid_value"
        param = "temperature"

    again = RunError.of(Blames("Too hot.")).as_exception()

    assert (again.kind, again.code, again.param, again.retry_after) == (
        Kind.INVALID,
        "invalid_value",
        "temperature",
        None,
    )


# --- the cursor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("0", Cursor(0)),
        ("7", Cursor(7)),
        ("007", Cursor(7)),
        ("9" * 15, Cursor(999_999_999_999_999)),
        (f"{RUN_ID}:1-0", Cursor(0, 1)),
        (f"{RUN_ID}:12-34", Cursor(34, 12)),
        (f"{RUN_ID}:0-3", Cursor(3, 0)),
    ],
)
def test_a_cursor_is_a_number_or_an_event_id_of_the_run(text: str, cursor: Cursor) -> None:
    assert parse_cursor(text, RUN_ID) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        "1_000",
        " 1",
        "1 ",
        "1\n",
        "\n1",
        "1\x00",
        "\uff11",
        "\u0661",
        "$",
        ">",
        "*",
        "nan",
        "null",
        "9" * 16,
        "1-2",
        "1-2-3",
        ":1-2",
        f"{RUN_ID}",
        f"{RUN_ID}:",
        f"{RUN_ID}:1",
        f"{RUN_ID}:1-",
        f"{RUN_ID}:-1-2",
        f"{RUN_ID}:1--2",
        f"{RUN_ID}:1-2-3",
        f"{RUN_ID}:1-2,3",
        f"{RUN_ID}:1 -2",
        f"{RUN_ID}:1-2\r\n",
        f" {RUN_ID}:1-2",
        f"{RUN_ID}:{'1' * 10}-2",
        f"{RUN_ID}:1-{'9' * 16}",
        f"{RUN_ID}:1-\uff12",
        f"{RUN_ID.lower()}:1-2",
        f"{RUN_ID[:-1]}:1-2",
        f"{RUN_ID}0:1-2",
        f"{RUN_ID}:{RUN_ID}:1-2",
        "job-01JXT21Q0000000000000000G0:1-2",
        "chatcmpl-01JXT21Q0000000000000000G1:1-2",
    ],
)
def test_nothing_else_is_a_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        parse_cursor(text, RUN_ID)


@given(st.text(max_size=60))
def test_no_text_is_more_than_malformed(text: str) -> None:
    try:
        cursor = parse_cursor(text, RUN_ID)
    except InvalidCursor:
        return

    assert re.fullmatch(r"[0-9]{1,15}", text)
    assert cursor == Cursor(int(text))


@given(st.integers(1, 999_999_999), st.integers(0, 999_999_999_999_999))
def test_the_id_of_an_event_is_a_cursor_to_it(attempt: int, seq: int) -> None:
    run = a_run(attempt=attempt)

    assert parse_cursor(f"{run.id}:{run.attempt}-{seq}", run.id) == Cursor(seq, attempt)


@pytest.mark.parametrize("cursor", [Cursor(), Cursor(0, 2), Cursor(4), Cursor(5), Cursor(5, 2)])
def test_what_a_live_run_has_said_is_a_place(cursor: Cursor) -> None:
    require_place(a_run(attempt=2, tail=5), cursor)


@pytest.mark.parametrize("cursor", [Cursor(), Cursor(0, 0)])
def test_a_run_that_waits_for_its_first_attempt_has_one_place(cursor: Cursor) -> None:
    require_place(a_run(status=QUEUED, attempt=0), cursor)
    with pytest.raises(CursorAhead):
        require_place(a_run(status=QUEUED, attempt=0), Cursor(1))


@pytest.mark.parametrize("cursor", [Cursor(1), Cursor(9), Cursor(1, 2), Cursor(5, 1)])
def test_what_a_run_said_that_waits_to_begin_again_is_no_place_any_more(cursor: Cursor) -> None:
    require_place(a_run(status=QUEUED, attempt=2), Cursor())
    with pytest.raises(GenerationRestarted):
        require_place(a_run(status=QUEUED, attempt=2), cursor)


@pytest.mark.parametrize("status", [COMPLETED, FAILED, CANCELLED])
@pytest.mark.parametrize("cursor", [Cursor(), Cursor(5), Cursor(6), Cursor(7), Cursor(7, 2)])
def test_an_ended_run_has_two_more_places_for_its_usage_and_its_end(status: Status, cursor: Cursor) -> None:
    assert (USAGE_PLACE, END_PLACE) == (1, 2)
    require_place(a_run(status=status, attempt=2, tail=5), cursor)


@pytest.mark.parametrize(
    ("status", "cursor"),
    [
        (QUEUED, Cursor(0, 3)),
        (IN_PROGRESS, Cursor(6)),
        (IN_PROGRESS, Cursor(6, 2)),
        (IN_PROGRESS, Cursor(0, 3)),
        (IN_PROGRESS, Cursor(999_999_999_999_999)),
        (COMPLETED, Cursor(8)),
        (FAILED, Cursor(8)),
        (CANCELLED, Cursor(8, 2)),
        (COMPLETED, Cursor(0, 3)),
    ],
)
def test_what_a_run_has_not_said_is_ahead(status: Status, cursor: Cursor) -> None:
    with pytest.raises(CursorAhead):
        require_place(a_run(status=status, attempt=2, tail=5), cursor)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("cursor", [Cursor(0, 1), Cursor(5, 1), Cursor(99, 1), Cursor(3, 0)])
def test_a_place_in_an_older_attempt_is_no_place_any_more(status: Status, cursor: Cursor) -> None:
    with pytest.raises(GenerationRestarted):
        require_place(a_run(status=status, attempt=2, tail=5), cursor)
