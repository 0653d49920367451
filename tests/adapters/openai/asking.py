"""Asking the adapter in both forms, and keeping what came before a failure."""

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pytest

from adapters.openai.provider import OpenAIProvider
from domain.chat import Chunk, Completion
from domain.completions.assembly import Assembly
from domain.errors import ProviderError
from domain.ports import Call
from tests.adapters.openai.calls import a_call, a_target
from tests.provider.process import ProviderProcess

Form: TypeAlias = Literal["whole", "stream"]
both_forms = pytest.mark.parametrize("form", ["whole", "stream"])


@dataclass
class Outcome:
    """What came of a stream, and what ended it."""

    chunks: list[Chunk] = field(default_factory=list)
    error: ProviderError | None = None


def call_to(scripted: ProviderProcess, model: str = "echo", *, extras: bool = True, **body: Any) -> Call:
    return a_call(a_target(model, scripted.base_url), extras=extras, **body)


async def stream(provider: OpenAIProvider, call: Call) -> list[Chunk]:
    async with aclosing(provider.stream_chat_completion(call)) as batches:
        return [chunk async for batch in batches for chunk in batch]


async def assembled(provider: OpenAIProvider, call: Call) -> Completion:
    """A streamed answer, put together as its readers will."""
    assembly = Assembly()
    for chunk in await stream(provider, call):
        assembly.add(chunk)
    return assembly.completion()


async def answer(provider: OpenAIProvider, call: Call, form: Form) -> Completion:
    return await (provider.create_chat_completion(call) if form == "whole" else assembled(provider, call))


async def outcome(provider: OpenAIProvider, call: Call) -> Outcome:
    """What comes of a stream."""
    found = Outcome()
    try:
        async with aclosing(provider.stream_chat_completion(call)) as batches:
            async for batch in batches:
                found.chunks += batch
    except ProviderError as error:
        found.error = error
    return found


async def failure_of(provider: OpenAIProvider, call: Call, form: Form) -> ProviderError:
    """The error that a call ends in."""
    try:
        completion = await answer(provider, call, form)
    except ProviderError as error:
        return error
    raise AssertionError(f"it was answered: {completion}")
