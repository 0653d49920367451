"""Documents as values: patched, compared, and shown without their secrets. Pure."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from domain.chat import JsonObject

#: Fields of a tenant that say what it is, and cannot be written.
READ_ONLY = ("id",)
#: The fields below which every text is a secret.
SECRETS = ("api_keys",)
#: The field that says which cached answers are forgotten.
GENERATIONS = "cache_generations"
#: What stands in the place of a secret; no header can hold it, so that one that is sent back is refused as a key.
_HIDDEN = "…"
#: A secret shorter than this shows nothing of itself.
_LONG = 16


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a document, and where: ``pointer`` is a JSON pointer (RFC 6901). It never quotes a value."""

    pointer: str
    what: str
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two documents; None where there is nothing."""

    pointer: str
    before: object
    after: object


def version_of(written: bytes) -> str:
    """The version of a document as it is stored, whoever wrote it: 32 hexadecimal digits."""
    return hashlib.sha256(written).hexdigest()[:32]


def merge_patch(target: object, patch: object) -> object:
    """``target`` with a JSON merge patch applied. https://www.rfc-editor.org/rfc/rfc7396#section-2"""
    if not isinstance(patch, dict):
        return patch
    patched = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            patched.pop(name, None)
        else:
            patched[name] = merge_patch(patched.get(name), value)
    return patched


def masked(document: JsonObject) -> JsonObject:
    """The document with its secrets hidden; of a long one, three characters in front and four behind are left."""
    return {name: _hidden(value) if name in SECRETS else value for name, value in document.items()}


def changes(before: JsonObject, after: JsonObject) -> tuple[Change, ...]:
    """What differs, leaf by leaf, in the order of the pointers."""
    return tuple(sorted(_changes("", before, after), key=lambda change: change.pointer))


def shown_changes(before: JsonObject, after: JsonObject) -> tuple[Change, ...]:
    """``changes``, with secrets hidden; that one was changed still shows."""
    return tuple(
        Change(change.pointer, _hidden(change.before), _hidden(change.after))
        if change.pointer.split("/")[1] in SECRETS
        else change
        for change in changes(before, after)
    )


def forgetting(document: JsonObject, whose: str) -> JsonObject:
    """The document with a new generation of cached answers, of one group or of all."""
    present = document.get(GENERATIONS)
    known = present if isinstance(present, dict) else {}
    number = known.get(whose)
    # Somebody may have written something else there by hand.
    return {**document, GENERATIONS: {**known, whose: number + 1 if isinstance(number, int) else 1}}


def as_forgetful(document: JsonObject, before: JsonObject) -> JsonObject:
    """The document that is to stand in the place of another: what was forgotten there does not come back."""
    kept = {GENERATIONS: before[GENERATIONS]} if GENERATIONS in before else {}
    return {**kept, **document}


def moved_keys(before: JsonObject, after: JsonObject) -> tuple[Flaw, ...]:
    """The keys that a tenant's own providers would take along to another address; who moves one must know its key."""
    old, new = before.get("providers"), after.get("providers")
    known, kept = before.get("api_keys"), after.get("api_keys")
    if not (isinstance(new, dict) and isinstance(known, dict) and isinstance(kept, dict)):
        return ()
    old = old if isinstance(old, dict) else {}
    moved = (name for name in new if _address(old.get(name)) != _address(new[name]))
    what = "must be entered anew with another base_url"
    return tuple(
        Flaw(pointer("api_keys", name), what) for name in moved if kept.get(name) and kept[name] == known.get(name)
    )


def _address(entry: object) -> object:
    return entry.get("base_url") if isinstance(entry, dict) else None


def pointer(*parts: object) -> str:
    """The JSON pointer of a place."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _hidden(value: object) -> object:
    if isinstance(value, dict):
        return {name: _hidden(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_hidden(part) for part in value]
    if not isinstance(value, str) or not value:
        return value
    return f"{value[:3]}{_HIDDEN}{value[-4:]}" if len(value) >= _LONG else _HIDDEN


def _changes(where: str, before: object, after: object) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            yield from _changes(where + pointer(name), before.get(name), after.get(name))
    elif before != after:
        yield Change(where, before, after)
