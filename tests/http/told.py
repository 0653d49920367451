"""What a caller is told when something is wrong, with the rules that hold for every error of every surface."""

from dataclasses import dataclass

import httpx

from tests.http.strict import require_error
from tests.http.surfaces import Surface


@dataclass(frozen=True, slots=True)
class Told:
    """An error as it was told. The plain dialect has room for the message alone; the code is in a header always."""

    status: int
    code: str
    message: str
    type: str | None = None
    param: str | None = None


def plainly(response: httpx.Response) -> Told:
    """An error in the plain dialect: ``{"error": "<message>"}`` and nothing else."""
    _require_headers(response)
    body = response.json()
    assert body.keys() == {"error"}
    assert isinstance(body["error"], str)
    return Told(response.status_code, response.headers["x-error-code"], body["error"])


def as_openai(response: httpx.Response) -> Told:
    """An error in OpenAI's dialect: ``{"error": {...}}`` with its four keys, the code the same as in the header."""
    _require_headers(response)
    body = response.json()
    require_error(body)
    error = body["error"]
    assert error["code"] == response.headers["x-error-code"]
    return Told(response.status_code, error["code"], error["message"], error["type"], error["param"])


def told(response: httpx.Response, surface: Surface) -> Told:
    """An error in the surface's dialect."""
    return plainly(response) if surface.dialect == "plain" else as_openai(response)


def _require_headers(response: httpx.Response) -> None:
    assert response.status_code >= 400, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert response.headers["x-error-code"]
