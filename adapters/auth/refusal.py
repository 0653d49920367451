"""How a token is refused: a sentence of our own that never repeats a part of it."""

from domain.errors import NotAuthenticated


def invalid_token(sentence: str) -> NotAuthenticated:
    """The refusal of a token that was given and is no good. https://www.rfc-editor.org/rfc/rfc6750#section-3.1"""
    return NotAuthenticated(sentence, reason="invalid_token")
