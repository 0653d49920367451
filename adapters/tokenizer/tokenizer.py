"""Counting tokens with tiktoken: short texts at once, long ones in a thread, and repeated ones not again."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from adapters.tokenizer.vocabularies import DEFAULT, PATTERNS, load

if TYPE_CHECKING:
    from tiktoken import Encoding

#: So many characters, 2 ms at the worst, are encoded while the event loop waits.
INLINE = 10_000
#: Texts are encoded in pieces of so many characters: a million blanks overflow the stack of tiktoken's regex engine,
#: which is a panic. The cut may cost a token or two.
PIECE = 100_000
#: What is larger than this is not looked up: that alone would take as long.
MAX_TEXTS, MAX_CHARACTERS = 2_000, 2_000_000
#: So many counts are remembered for each vocabulary, about 2 MB.
MAX_REMEMBERED = 10_000

Digest: TypeAlias = bytes


class TiktokenTokenizer:
    """Counts with OpenAI's vocabularies, each loaded when it is first needed.

    Loading holds up the whole process for a moment, so a server had better count something before it listens.
    """

    def __init__(self) -> None:
        self._vocabularies = {name: Vocabulary(name) for name in PATTERNS}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokenizer")

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        counter = self._vocabularies.get(vocabulary, self._vocabularies[DEFAULT])
        if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
            return sum(await self._in_thread(counter, texts))
        total, unknown = counter.recall(texts)
        if unknown:
            left = [text for _, text in unknown]
            soon = counter.loaded and sum(map(len, left)) <= INLINE
            counts = counter.encode(left) if soon else await self._in_thread(counter, left)
            counter.remember(unknown, counts)
            total += sum(counts)
        return total

    async def _in_thread(self, counter: "Vocabulary", texts: Sequence[str]) -> list[int]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, counter.encode, texts)


class Vocabulary:
    """One vocabulary, and the counts of the texts that it met last.

    A conversation comes again with every turn, a system prompt with every request. They are known by their SHA-256:
    no prompt stays in memory. Only ``encode`` may be called from another thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loading = Lock()
        self._encoding: Encoding | None = None
        self._counts: OrderedDict[Digest, int] = OrderedDict()

    @property
    def loaded(self) -> bool:
        return self._encoding is not None

    def recall(self, texts: Sequence[str]) -> tuple[int, list[tuple[Digest, str]]]:
        """The tokens of those texts that are known, and the others with their digests."""
        total, unknown = 0, []
        for text in texts:
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
            count = self._counts.get(digest)
            if count is None:
                unknown.append((digest, text))
            else:
                self._counts.move_to_end(digest)
                total += count
        return total, unknown

    def remember(self, texts: Sequence[tuple[Digest, str]], counts: Sequence[int]) -> None:
        for (digest, _), count in zip(texts, counts, strict=True):
            self._counts[digest] = count
        while len(self._counts) > MAX_REMEMBERED:
            self._counts.popitem(last=False)

    def encode(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text. Loads the vocabulary if need be, once however many threads ask."""
        with self._loading:
            encoding = self._encoding = self._encoding or load(self._name)
        return [sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text)) for text in texts]


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]
