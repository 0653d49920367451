"""The vocabularies: how each splits a text before merging, and its merge ranks as package data.

Special tokens are left out: a user's text is counted as the plain text that it is.
"""

import gzip
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from domain.models import DEFAULT_VOCABULARY

if TYPE_CHECKING:
    from tiktoken import Encoding

DEFAULT = DEFAULT_VOCABULARY
#: https://github.com/openai/tiktoken/blob/0.14.0/tiktoken_ext/openai_public.py
PATTERNS: Mapping[str, str] = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s"
    ),
    "o200k_base": "|".join(
        [
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
}
_DATA = Path(__file__).with_name("data")


def ranks(name: str) -> dict[bytes, int]:
    """The merge ranks of a vocabulary."""
    data = gzip.decompress((_DATA / f"{name}.tiktoken.gz").read_bytes())
    return {b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}


@cache
def load(name: str) -> "Encoding":
    """A vocabulary, ready to encode; one for all of the process.

    The first time takes a quarter of a second, half of which no other thread can run.
    """
    from tiktoken import Encoding

    merges = ranks(name)
    encoding = Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=merges, special_tokens={})
    # Only kept by Encoding for decoding and pickling, in a form that takes more room than all the rest.
    merges.clear()
    return encoding
