"""A request body that has arrived but may not be spoken of yet: who is calling is settled before what they sent."""

from dataclasses import dataclass

from sanic import Request

from domain.chat import ChatRequest, JsonObject
from domain.errors import SluiceError
from entrypoints.http.conversation import Conversation
from entrypoints.http.errors import HttpRefusal
from entrypoints.http.json_body import read_json
from entrypoints.http.parsing import Fields, parse


@dataclass(frozen=True, slots=True)
class Draft:
    """A body, as far as it could be read; what is wrong with it comes out of ``parse``."""

    body: JsonObject
    flaw: SluiceError | None = None

    def peek(self, name: str) -> object:
        """A top-level field as it stands, unchecked; None where there is none."""
        return self.body.get(name)

    def parse(self, fields: Fields) -> ChatRequest:
        """The request.

        Raises:
            HttpRefusal: the media type is not JSON.
            InvalidRequest: the body is not JSON, or not a request.
        """
        if self.flaw is not None:
            raise self.flaw
        return parse(self.body, fields)


async def read_draft(request: Request, *, anonymous: bool = False) -> Draft:
    """The body of a request, which is read only now: whoever may not ask is not listened to for so long.

    From ``anonymous`` callers less of it is taken.
    """
    conversation = _conversation(request)
    bounds = conversation.protocol.bounds
    try:
        require_json(request)
        return Draft(
            read_json(await conversation.read_body(bounds.anonymous_body_bytes if anonymous else bounds.body_bytes))
        )
    except SluiceError as flaw:
        return Draft({}, flaw)


async def receive(request: Request) -> None:
    """Read the body into ``request.body``, where nobody else puts it.

    Raises:
        HttpRefusal: it is too large, too slow, or not framed as it has to be.
    """
    conversation = _conversation(request)
    request.body = await conversation.read_body(conversation.protocol.bounds.body_bytes)


def is_large(request: Request) -> bool:
    """Whether the body is, or may be, larger than what is taken from anonymous callers."""
    conversation = _conversation(request)
    unread = conversation.unread
    return not isinstance(unread, int) or unread > conversation.protocol.bounds.anonymous_body_bytes


def _conversation(request: Request) -> Conversation:
    assert isinstance(request.stream, Conversation)  # noqa: S101 - no other protocol is served
    return request.stream


def require_json(request: Request) -> None:
    """Raise HttpRefusal unless the body is JSON by its media type, and not compressed.

    A body without a media type is taken for JSON; one that says it is something else is not.
    """
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise HttpRefusal(
            "Unsupported content encoding: the body must not be compressed.",
            status=415,
            code="unsupported_content_encoding",
            headers={"Accept-Encoding": "identity"},
        )
    media_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise HttpRefusal(
            "Unsupported media type: the body must be application/json.", status=415, code="unsupported_media_type"
        )
