"""A request body that has arrived but may not be spoken of yet: who is calling is settled before what they sent."""

from dataclasses import dataclass

from sanic import Request

from domain.chat import ChatRequest, JsonObject
from domain.errors import SluiceError
from entrypoints.http.errors import HttpRefusal
from entrypoints.http.parsing import Fields, parse, read_json


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


def read_draft(request: Request) -> Draft:
    try:
        require_json(request)
        return Draft(read_json(request.body))
    except SluiceError as flaw:
        return Draft({}, flaw)


def require_json(request: Request) -> None:
    """Raise HttpRefusal unless the body is JSON by its media type.

    A body without a media type is taken for JSON; one that says it is something else is not.
    """
    media_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise HttpRefusal(
            "Unsupported media type: the body must be application/json.", status=415, code="unsupported_media_type"
        )
