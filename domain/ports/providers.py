"""Providers, and the counting of what they are sent."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.chat import Chunk, Completion, JsonObject
from domain.providers import Target
from domain.spans import Span


class Tokenizer(Protocol):
    """Counts tokens. Works without a network and never blocks the event loop for long."""

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        """The sum of the tokens of ``texts``; special tokens in them count as the plain text that they are.

        An unknown vocabulary is counted as ``o200k_base``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a provider. ``body`` is OpenAI's, without model and stream, which the adapter sets.

    ``silence`` is how many seconds the client waits for anything of a stream; None: as long as the provider is given.

    ``deadline`` is in seconds from now, for the whole answer. ``extras`` says whether to keep what the provider sends
    beyond OpenAI's fields. ``span`` is this request's part of a trace, of which the provider is told. ``fresh`` says
    that it may not go over a connection that was kept: the provider hung up on one.
    """

    target: Target
    body: JsonObject
    request_id: str
    deadline: float
    silence: float | None = None
    extras: bool = True
    span: Span | None = None
    fresh: bool = False


class ChatProvider(Protocol):
    """Any OpenAI-compatible provider, over the network. Never answers with less than the whole: it raises."""

    async def create_chat_completion(self, call: Call) -> Completion:
        """The whole answer, in OpenAI's shape; usage None where the provider sent none that can be true.

        Raises:
            ProviderError: and its kinds, as ``domain.errors`` lists them.
        """
        ...

    def stream_chat_completion(self, call: Call) -> AsyncGenerator[tuple[Chunk, ...], None]:
        """The answer as it comes: the chunks of each network read together, in order.

        Usage is always asked for and comes in a chunk's ``usage``. The generator ends only after a complete answer;
        it must be closed (``aclosing``), which ends the request upstream.

        Raises:
            ProviderError: and its kinds; ProviderTruncated where the stream ended before the answer did.
        """
        ...
