"""What providers send beyond OpenAI's fields: kept where the surface is open, nowhere to be seen where it is not."""

import pytest

from tests.http.member import Member
from tests.http.surfaces import GROUP, PROVIDER, SURFACES, TENANT, Surface

OPEN = [GROUP, TENANT]


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_an_open_surface_keeps_extras_at_every_level_of_a_whole_answer(member: Member, surface: Surface) -> None:
    answer = (await member.whole(surface, model="extras")).json()

    assert answer["x_provider"] == {"name": "scripted", "warm": True}
    assert answer["choices"][0]["x_choice"] == {"score": 0.5}
    assert answer["choices"][0]["message"]["x_content"][:2] == ["unknown", None]
    assert answer["usage"]["x_cost"] == 0.0001


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_an_open_surface_keeps_extras_at_every_level_of_a_stream(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, model="extras", stream_options={"include_usage": True})

    *chunks, last = stream.chunks
    for chunk in chunks:
        assert chunk["x_provider"] == {"name": "scripted", "warm": True}
        assert chunk["choices"][0]["x_choice"] == {"score": 0.5}
        assert chunk["choices"][0]["delta"]["x_content"] == ["unknown", None]
    assert last["usage"]["x_cost"] == 0.0001


async def test_the_provider_surface_strips_extras_from_a_whole_answer(member: Member) -> None:
    answer = await member.post(PROVIDER, model="extras")

    assert answer.json()["choices"][0]["message"]["content"] == "Hello, who are you?"
    assert "x_" not in answer.text


async def test_the_provider_surface_strips_extras_from_a_stream(member: Member) -> None:
    stream = await member.stream(PROVIDER, model="extras", stream_options={"include_usage": True})

    assert stream.text() == "Hello, who are you?"
    assert "x_" not in stream.response.text


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_reasoning_is_an_extra(member: Member, surface: Surface) -> None:
    whole = (await member.whole(surface, model="reasoning")).json()["choices"][0]["message"]
    stream = await member.stream(surface, model="reasoning")

    streamed = "".join(delta.get("reasoning_content", "") for delta in stream.deltas())
    expected = "Let me think about it. " if surface.keeps_extras else ""
    assert whole.get("reasoning_content", "") == expected
    assert streamed == expected
    assert whole["content"] == stream.text() == "Hello, who are you?"


@pytest.mark.parametrize("surface", OPEN, ids=str)
async def test_a_prompt_filters_findings_are_an_extra(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface, model="empty-choices")

    assert answer.json()["prompt_filter_results"][0]["prompt_index"] == 0


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_obfuscation_is_openais_own(member: Member, surface: Surface) -> None:
    stream = await member.stream(surface, stream_options={"include_obfuscation": True})

    assert all(chunk["obfuscation"] == "obfuscated" for chunk in stream.chunks)


@pytest.mark.parametrize("surface", SURFACES, ids=str)
async def test_the_providers_own_headers_stay_with_us(member: Member, surface: Surface) -> None:
    answer = await member.whole(surface)

    assert "scripted" not in answer.headers["x-request-id"]
    assert not {name for name in answer.headers if name.startswith("openai-")}
    assert answer.headers["x-ratelimit-reset-requests"] != ""
    assert "set-cookie" not in (await member.whole(surface, model="cookie")).headers


async def test_a_providers_cookie_never_goes_back(member: Member) -> None:
    await member.post(TENANT, model="cookie")

    answer = await member.post(TENANT, model="cookie")

    assert answer.json()["choices"][0]["message"]["content"] == "Cookie: none"
