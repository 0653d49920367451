"""Refusals and faults: what breaks is what the model's name says, and nothing else."""

import json
import zlib

import httpx
import openai
import pytest

from tests.provider.process import ProviderProcess
from tests.provider.talk import HELLO, data_of, post, raw, read_all, read_to_reset, read_until, text_of


def test_a_status_carries_openais_body_and_the_wait_it_was_told(provider: ProviderProcess) -> None:
    answer = post(provider, "status-503-ra5-rams250", stream=True)

    assert answer.status_code == 503
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("5", "250")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("model", "wait"), [("status-429-ra1e9", "1e9"), ("status-429-raneg", "-5"), ("status-429-raabc", "abc")]
)
def test_a_wait_may_be_nonsense(provider: ProviderProcess, model: str, wait: str) -> None:
    assert post(provider, model).headers["retry-after"] == wait


@pytest.mark.parametrize(
    ("model", "status", "content_type", "start"),
    [
        ("status-502-html", 502, "text/html; charset=utf-8", "<!DOCTYPE"),
        ("status-529-plain", 529, "text/plain", "upstream"),
        ("status-500-empty", 500, "application/json", ""),
        ("status-204", 204, None, ""),
        ("html-200", 200, "text/html; charset=utf-8", "<!DOCTYPE"),
        ("empty-200", 200, "application/json", ""),
        ("json-array", 200, "application/json", "[1"),
        ("not-json", 200, "application/json", "{"),
        ("error-in-200", 200, "application/json", '{"error"'),
    ],
)
def test_a_refusal_is_dressed_as_its_name_says(
    provider: ProviderProcess, model: str, status: int, content_type: str | None, start: str
) -> None:
    answer = post(provider, model)

    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert answer.text.startswith(start)
    assert bool(answer.text) == bool(start)


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("error-context", openai.BadRequestError, "context_length_exceeded"),
        ("error-content-filter", openai.BadRequestError, "content_filter"),
        ("error-param", openai.BadRequestError, "decimal_above_max_value"),
        ("error-model", openai.NotFoundError, "model_not_found"),
        ("error-quota", openai.RateLimitError, "insufficient_quota"),
        ("no-such-model", openai.NotFoundError, "model_not_found"),
        ("echo-loud", openai.NotFoundError, "model_not_found"),
    ],
)
def test_openais_client_recognises_the_error(
    client: openai.OpenAI, model: str, kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as refused:
        client.chat.completions.create(model=model, messages=HELLO)

    assert refused.value.code == code


def test_a_bad_key_is_401(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="bad").chat.completions.create(model="echo", messages=HELLO)


def test_flapping_fails_every_second_request(provider: ProviderProcess) -> None:
    assert [post(provider, "flap").status_code for _ in range(4)] == [200, 500, 200, 500]

    provider.reset()

    assert post(provider, "flap").status_code == 200


def test_who_follows_the_redirect_is_seen(provider: ProviderProcess) -> None:
    body = {"model": "redirect", "messages": HELLO}
    answer = httpx.post(f"{provider.base_url}/chat/completions", json=body, follow_redirects=True, trust_env=False)

    assert answer.status_code == 200
    assert [seen.path for seen in provider.requests()] == [
        "/v1/chat/completions",
        "/as/echo/v1/chat/completions",
    ]


def test_a_reset_leaves_no_answer(provider: ProviderProcess) -> None:
    with raw(provider, "reset") as peer, pytest.raises(ConnectionResetError):
        peer.recv(1)


def test_a_close_leaves_no_answer(provider: ProviderProcess) -> None:
    with raw(provider, "close") as peer:
        assert read_all(peer) == b""


@pytest.mark.parametrize("stream", [True, False])
def test_a_reset_in_the_middle_comes_after_what_was_sent(provider: ProviderProcess, stream: bool) -> None:
    with raw(provider, "reset-mid-n2", stream=stream) as peer:
        received = read_to_reset(peer)

    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"w1" in received or not stream


def test_a_cut_stream_has_no_last_chunk(provider: ProviderProcess) -> None:
    with raw(provider, "cut-mid-n2", stream=True) as peer:
        received = read_all(peer)

    assert b'"w1 "' in received
    assert b'"w2 "' not in received
    assert not received.endswith(b"0\r\n\r\n")


def test_a_fault_comes_after_its_words_however_low_the_bound(provider: ProviderProcess) -> None:
    chunks = data_of(post(provider, "end-mid-n3", stream=True, max_tokens=1).content)

    assert text_of(chunks) == "w0 w1 w2 "


def test_a_stream_may_end_cleanly_with_half_an_answer(provider: ProviderProcess) -> None:
    chunks = data_of(post(provider, "end-mid-n2", stream=True).content)

    assert text_of(chunks) == "w0 w1 "
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks} == {None}


@pytest.mark.parametrize("model", ["cut-mid", "reset-mid", "end-mid", "bad-event"])
def test_a_whole_answer_breaks_too(provider: ProviderProcess, model: str) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, json.JSONDecodeError)):
        post(provider, model).json()


def test_a_bad_event_stands_between_good_ones(provider: ProviderProcess) -> None:
    lines = [line for line in post(provider, "bad-event-n2", stream=True).text.split("\n") if line]
    bad = [number for number, line in enumerate(lines[:-1]) if not line.endswith("}")]

    assert bad == [3]
    assert text_of(data_of("\n\n".join(lines[:3] + lines[4:]).encode() + b"\n\n")).startswith("w0 w1 w2 ")
    assert lines[-1] == "data: [DONE]"


def test_an_error_event_ends_the_stream(provider: ProviderProcess) -> None:
    chunks = data_of(post(provider, "error-event-n2", stream=True).content)

    assert text_of(chunks[:-1]) == "w0 w1 "
    assert chunks[-1]["error"]["type"] == "server_error"


def test_a_second_response_waits_for_the_next_request(provider: ProviderProcess) -> None:
    with raw(provider, "two-responses") as peer:
        received = read_until(peer, b"POISON")

    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_a_form_may_be_the_other_one(provider: ProviderProcess) -> None:
    assert post(provider, "wrong-type", stream=True).json()["object"] == "chat.completion"
    assert data_of(post(provider, "whole-stream").content)[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [True, False])
def test_a_bomb_is_a_valid_answer_once_inflated(provider: ProviderProcess, stream: bool) -> None:
    body = {"model": "gzip-bomb-n3", "messages": HELLO, "stream": stream}
    with httpx.stream(
        "POST", f"{provider.base_url}/chat/completions", json=body, timeout=10, trust_env=False
    ) as answer:
        packed = b"".join(answer.iter_raw())
    inflated = zlib.decompress(packed, wbits=31)

    assert len(packed) < 10_000
    assert len(inflated) > 3 << 20
    first = inflated.split(b"\n\n")[0].removeprefix(b"data: ")
    assert json.loads(first)["choices"]


def test_a_huge_line_has_no_end(provider: ProviderProcess) -> None:
    line = post(provider, "huge-line-n2", stream=True).content

    assert len(line) > 2 << 20
    assert b"\n" not in line


@pytest.mark.parametrize(
    ("model", "mark"),
    [
        ("drip-headers-i1", b"HTTP/1.1 200"),
        ("interim-i1", b"HTTP/1.1 103 Early Hints\r\n"),
        ("trickle-i1", b": still working\n\n"),
        ("many-headers", b"x-filler-299: "),
        ("garbage-stream", b"\r\n0\r\n\r\n"),
    ],
)
def test_rubbish_arrives_as_promised(provider: ProviderProcess, model: str, mark: bytes) -> None:
    with raw(provider, model, stream=True) as peer:
        assert mark in read_until(peer, mark)
