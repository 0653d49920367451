"""Habits of providers: usage, endings, framing and extras that a client must live with."""

import httpx
import pytest

from tests.provider.process import ProviderProcess
from tests.provider.talk import HELLO_TEXT, data_of, post, raw, read_until, text_of


@pytest.mark.parametrize(("model", "usages"), [("usage-none", 0), ("usage-always", 1), ("usage-in-finish", 1)])
def test_usage_follows_the_habit_whatever_was_asked(provider: ProviderProcess, model: str, usages: int) -> None:
    for options in (None, {"include_usage": True}):
        *chunks, _ = data_of(post(provider, model, stream=True, stream_options=options).content)

        assert len([chunk for chunk in chunks if chunk.get("usage")]) == usages


def test_usage_in_the_finish_chunk_has_no_chunk_of_its_own(provider: ProviderProcess) -> None:
    *chunks, _ = data_of(post(provider, "usage-in-finish", stream=True).content)

    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 8


@pytest.mark.parametrize(
    ("kind", "prompt_tokens"),
    [("negative", -5), ("float", 3.5), ("huge", 2**63), ("large", 10**9), ("text", "many"), ("partial", 5)],
)
def test_usage_can_be_bad_in_many_ways(provider: ProviderProcess, kind: str, prompt_tokens: object) -> None:
    assert post(provider, f"usage-bad-{kind}").json()["usage"]["prompt_tokens"] == prompt_tokens


@pytest.mark.parametrize("reason", ["model_length", "end_turn", "eos", "rate_limit", "a-b"])
def test_a_finish_reason_is_taken_from_the_name(provider: ProviderProcess, reason: str) -> None:
    assert post(provider, f"finish-{reason}").json()["choices"][0]["finish_reason"] == reason


def test_a_stream_may_end_without_done(provider: ProviderProcess) -> None:
    chunks = data_of(post(provider, "no-done", stream=True).content)

    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_comments_use_what_the_format_allows(provider: ProviderProcess) -> None:
    # OpenAI's client 3.52 fails on this stream: it takes a comment after an id for an event without data.
    stream = post(provider, "comments", stream=True).content

    assert stream.startswith(b"\xef\xbb\xbfdata:{")
    for rarity in (b"\r\n\r\n", b"\r\r", b"\n\n", b"data:  ", b"event: message", b": OPENROUTER PROCESSING\r\n"):
        assert rarity in stream
    assert text_of(data_of(stream)) == HELLO_TEXT


def test_each_byte_of_u2028_is_a_chunk_of_its_own(provider: ProviderProcess) -> None:
    with raw(provider, "u2028", stream=True) as peer:
        wire = read_until(peer, b"0\r\n\r\n")

    assert b"1\r\n\xe2\r\n1\r\n\x80\r\n1\r\n\xa8\r\n" in wire


def test_a_cookie_tells_whether_it_came_back(provider: ProviderProcess) -> None:
    with httpx.Client(base_url=provider.base_url, trust_env=False) as jar:
        texts = [
            jar.post("/chat/completions", json={"model": "cookie"}).json()["choices"][0]["message"]["content"]
            for _ in range(2)
        ]

    assert texts[0] == "Cookie: none"
    assert texts[1].startswith("Cookie: session=s")
