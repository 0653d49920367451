"""Ids of tenants, groups, users, providers and conversations: one alphabet, so that no key can be forged with them."""

import hashlib
import re

_STAND_IN = re.compile(r"sub-[0-9a-f]{32}")
_ID = re.compile(r"[A-Za-z0-9._@-]{1,128}")


def is_id(text: object) -> bool:
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def user_id(subject: str) -> str:
    """The user id of a token's subject.

    Issuers name subjects as they like (``auth0|5f7c``, ``mailto:a@b.c``). One that is no id of ours becomes
    ``sub-`` and 32 hexadecimal digits of its SHA-256, so that two subjects never share a balance; neither does one that
    looks like that already.
    """
    if is_id(subject) and not _STAND_IN.fullmatch(subject):
        return subject
    return f"sub-{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
