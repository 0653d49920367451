"""The fast path: events that differ from one before them in nothing but the text they say, as nearly all of them do.

Such an event is read in full once. Of the next ones only the text is: in all else they are the same bytes, and a JSON
text in which one string stands for another means the same but for that string. It costs a fifth of the full way, whose
results it has to the byte; ``tests/adapters/openai/test_plain.py`` compares the two.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import orjson

from domain.chat import Chunk, JsonObject

#: What differs: the text, and what OpenAI pads events with, so that their sizes do not tell what is in them.
_TEXT, _PADDING = "content", "obfuscation"
#: Behind the name of a member: a string without escapes.
_STRING = re.compile(rb'[ \t]*:[ \t]*("[^"\\]*")')


@dataclass(frozen=True, slots=True)
class PlainText:
    """What the events of one choice have in common: the bytes around their strings, as they come and as they go."""

    given: tuple[bytes, ...]
    told: tuple[bytes, ...]
    body: JsonObject
    choice: JsonObject
    model: str | None

    @classmethod
    def like(cls, event: bytes, payload: JsonObject, chunk: Chunk) -> "PlainText | None":
        """What to expect behind an event that was read in full; None where it says more than a text.

        Changes ``payload``.
        """
        if not _says_text_only(chunk):
            return None
        names = (_TEXT, _PADDING) if isinstance(payload.get(_PADDING), str) else (_TEXT,)
        given, told = _around(event, names), _around(chunk.data, names)
        choice: JsonObject = chunk.body["choices"][0]
        made = cls(given, told, chunk.body, choice, chunk.model)
        return made if given and told and made._holds(payload) else None

    def _holds(self, payload: JsonObject) -> bool:
        """Whether other strings, put between the parts, are the text and the padding of the whole, and nothing else."""
        strings = ["\ufdd0 text", "\ufdd0 padding"][: len(self.given) - 1]
        payload["choices"][0]["delta"][_TEXT] = strings[0]
        body = {**self.body, "choices": [{**self.choice, "delta": {_TEXT: strings[0]}}]}
        for padding in strings[1:]:
            payload[_PADDING] = body[_PADDING] = padding
        told = orjson.dumps({"model": self.model, **body})
        return orjson.loads(_filled(self.given, strings)) == payload and _filled(self.told, strings) == told

    def read(self, event: bytes) -> Chunk | None:
        """The chunk of an event that is like the one before; None for any other."""
        first, last = self.given[0], self.given[-1]
        if not (event.startswith(first) and event.endswith(last)):
            return None
        inner, padding = event[len(first) : len(event) - len(last)], None
        try:
            # What is cut out must be JSON of its own; otherwise it was no string that stood here.
            if len(self.given) == 3:
                inner, _, rest = inner.partition(self.given[1])
                padding = orjson.loads(rest)
            text = orjson.loads(inner)
        except orjson.JSONDecodeError:
            return None
        if type(text) is not str or (type(padding) is not str and len(self.given) == 3):
            return None
        return self._saying(text, padding)

    def _saying(self, text: str, padding: str | None) -> Chunk:
        body = {**self.body, "choices": [{**self.choice, "delta": {_TEXT: text}}]}
        told = self.told
        if padding is None:
            return Chunk(body, b"%b%b%b" % (told[0], orjson.dumps(text), told[1]), None, self.model)
        body[_PADDING] = padding
        return Chunk(body, _filled(told, (text, padding)), None, self.model)


def _says_text_only(chunk: Chunk) -> bool:
    choices = chunk.body["choices"]
    if chunk.usage is not None or len(choices) != 1:
        return False
    delta, reason = choices[0]["delta"], choices[0]["finish_reason"]
    rest = [
        value for each in (chunk.body, choices[0]) for key, value in each.items() if key not in ("choices", "delta")
    ]
    # What is shared by many chunks had better be nothing that somebody could change.
    return delta.keys() == {_TEXT} and type(delta[_TEXT]) is str and reason is None and not _has_structure(rest)


def _has_structure(values: Sequence[object]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _around(data: bytes, names: Sequence[str]) -> tuple[bytes, ...]:
    """The parts of a JSON text around the strings of these members; nothing where they are not plain to see."""
    parts, end = [], 0
    for name in names:
        member = b'"%b"' % name.encode()
        found = _STRING.match(data, data.find(member) + len(member)) if data.count(member) == 1 else None
        if found is None or found.start(1) < end:
            return ()
        parts.append(data[end : found.start(1)])
        end = found.end(1)
    return (*parts, data[end:])


def _filled(parts: Sequence[bytes], strings: Sequence[object]) -> bytes:
    return b"".join(chain.from_iterable(zip_longest(parts, map(orjson.dumps, strings), fillvalue=b"")))
