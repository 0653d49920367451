"""What a request asked of the answer. Read leniently: judging requests is the gateway's work."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.provider.exchange import Json
from tests.provider.names import Name


@dataclass(frozen=True, slots=True)
class Ask:
    """A request's body together with the name's settings and what makes its ids (``number``, ``created``)."""

    body: Json
    name: Name
    number: int
    created: int

    @property
    def id(self) -> str:
        return f"chatcmpl-scripted-{self.number}"

    @property
    def messages(self) -> list[Json]:
        return [message for message in self.body.get("messages") or [] if isinstance(message, dict)]

    @property
    def last_user_text(self) -> str:
        said = [message_text(message) for message in self.messages if message.get("role") == "user"]
        return said[-1] if said else ""

    @property
    def prompt_tokens(self) -> int:
        return sum(len(message_text(message).split()) for message in self.messages)

    @property
    def n(self) -> int:
        return self.body.get("n") or 1

    @property
    def stops(self) -> list[str]:
        stop = self.body.get("stop") or []
        return [stop] if isinstance(stop, str) else list(stop)

    @property
    def max_tokens(self) -> int | None:
        bound = self.body.get("max_completion_tokens")
        return bound if bound is not None else self.body.get("max_tokens")

    @property
    def include_usage(self) -> bool:
        return self._stream_option("include_usage")

    @property
    def include_obfuscation(self) -> bool:
        """Only where it was asked for by name: OpenAI sends it by default, no other provider does."""
        return self._stream_option("include_obfuscation")

    def _stream_option(self, name: str) -> bool:
        return (self.body.get("stream_options") or {}).get(name) is True


def message_text(message: Json) -> str:
    """The text of a message, its parts joined; images, audio and files have none."""
    return "".join(_texts(message.get("content")))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part, dict) and "text" in part)
