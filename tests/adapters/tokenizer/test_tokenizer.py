"""Token counts: OpenAI's own, without a network, and without holding up the event loop."""

import asyncio
import gzip
import hashlib
import random
import socket
from collections.abc import Sequence
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped] # ships no types

from adapters.tokenizer import tokenizer as module
from adapters.tokenizer import vocabularies
from adapters.tokenizer.tokenizer import INLINE, MAX_REMEMBERED, MAX_TEXTS, PIECE, TiktokenTokenizer, Vocabulary
from domain.ports import Tokenizer

pytestmark = pytest.mark.anyio

NAMES = tuple(vocabularies.PATTERNS)
SAMPLES = [
    "",
    "Hello, world!",
    "The quick brown fox can't jump over 12345678 lazy dogs.\n\n\tIndeed  not.   ",
    "Straße, naïve, Ελληνικά, العربية, עברית, 漢字仮名交じり文, 👩‍👩‍👧‍👦, a\u0301\u0300",
    "def f(x):\n    return {'a': [x ** 2 for _ in range(10)]}\r\n",
    "<|endoftext|><|fim_prefix|>",
    "HTTPServerError CamelCase snake_case SHOUTING it's IT'S",
    "\ud800 lone \udfff",
    "\0\x7f\u2028\ufeff",
]


class Official:
    """What tiktoken itself would have used, had it been let download."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        def expected(_: str, expected_hash: str) -> dict[bytes, int]:
            self.hash = expected_hash
            return vocabularies.ranks(name)

        monkeypatch.setattr(openai_public, "load_tiktoken_bpe", expected)
        self.facts: dict[str, Any] = openai_public.ENCODING_CONSTRUCTORS[name]()


@pytest.fixture(scope="module")
def tokenizer() -> TiktokenTokenizer:
    return TiktokenTokenizer()


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is encoded from now on, in order."""
    encoded: list[str] = []
    encode = Vocabulary.encode

    def noting(self: Vocabulary, texts: Sequence[str]) -> list[int]:
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(Vocabulary, "encode", noting)
    return encoded


async def test_the_port_is_kept(tokenizer: TiktokenTokenizer) -> None:
    port: Tokenizer = tokenizer

    assert await port.count("o200k_base", ()) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_vocabulary_is_the_one_that_tiktoken_expects(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    official = Official(monkeypatch, name)

    packed = (vocabularies._DATA / f"{name}.tiktoken.gz").read_bytes()

    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == official.hash
    assert official.hash in (vocabularies._DATA / "README.md").read_text()
    assert vocabularies.PATTERNS[name] == official.facts["pat_str"]


@pytest.mark.parametrize("name", NAMES)
async def test_counts_are_tiktokens_own(
    tokenizer: TiktokenTokenizer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    encoding = tiktoken.Encoding(**Official(monkeypatch, name).facts)

    for text in SAMPLES:
        assert await tokenizer.count(name, [text]) == len(encoding.encode_ordinary(text)), text


async def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network is not needed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert await TiktokenTokenizer().count("cl100k_base", ["Hello, world!"]) == 4


async def test_special_tokens_in_a_text_are_text(tokenizer: TiktokenTokenizer) -> None:
    assert await tokenizer.count("o200k_base", ["<|endoftext|>"]) > 1


async def test_an_unknown_vocabulary_counts_as_the_newest(tokenizer: TiktokenTokenizer) -> None:
    text = "漢字仮名交じり文"

    assert await tokenizer.count("llama", [text]) == await tokenizer.count("o200k_base", [text])
    assert await tokenizer.count("llama", [text]) != await tokenizer.count("cl100k_base", [text])


@given(st.lists(st.text()))
def test_the_count_is_the_sum_of_the_texts_however_often_they_come(
    tokenizer: TiktokenTokenizer, texts: list[str]
) -> None:
    async def counts() -> list[int]:
        each = [await tokenizer.count("o200k_base", [text]) for text in texts]
        return [sum(each), await tokenizer.count("o200k_base", texts), await tokenizer.count("o200k_base", texts * 2)]

    one_by_one, together, twice = asyncio.run(counts())

    assert one_by_one == together
    assert twice == 2 * together


async def test_a_vocabulary_is_loaded_once_however_many_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str) -> object:
        loaded.append(name)
        return tiktoken.Encoding(
            name, pat_str=".", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
        )

    monkeypatch.setattr(module, "load", load)
    tokenizer = TiktokenTokenizer()

    counts = await asyncio.gather(*(tokenizer.count("o200k_base", [f"text {n}"]) for n in range(20)))

    assert loaded == ["o200k_base"]
    assert counts == [len(f"text {n}") for n in range(20)]


async def test_a_text_that_comes_again_is_not_encoded_again(
    tokenizer: TiktokenTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = ["You are a helpful assistant, and this is the first turn."]
    encoded = counting(monkeypatch)

    counts = []
    for turn in range(3):
        conversation.append(f"turn {turn} of a test")
        counts.append(await tokenizer.count("o200k_base", conversation))

    assert encoded == conversation
    assert counts == [13 + 6 * turn for turn in (1, 2, 3)]


async def test_each_vocabulary_has_counts_of_its_own(tokenizer: TiktokenTokenizer) -> None:
    text = "Ein Satz, den beide verschieden zerlegen: Fußgängerübergänge"

    counts = [await tokenizer.count(name, [text]) for name in (*NAMES, *NAMES)]

    assert counts[0] != counts[1]
    assert counts[:2] == counts[2:]


async def test_only_so_many_counts_are_remembered_and_no_text(tokenizer: TiktokenTokenizer) -> None:
    vocabulary = tokenizer._vocabularies["o200k_base"]

    for start in range(0, MAX_REMEMBERED + MAX_TEXTS, 1000):
        await tokenizer.count("o200k_base", [f"number {n}" for n in range(start, start + 1000)])

    assert len(vocabulary._counts) == MAX_REMEMBERED
    assert {len(digest) for digest in vocabulary._counts} == {32}


@pytest.mark.parametrize("repeated", ["a", " ", "\n", " \t", "\u00a0", "漢", "^", "0", "aA", "\u0301"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_million_times_the_same_is_counted_while_others_are_served(
    tokenizer: TiktokenTokenizer, name: str, repeated: str
) -> None:
    text = repeated * (1_000_000 // len(repeated))

    counting = asyncio.create_task(tokenizer.count(name, [text]))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1

    assert await counting > 0
    assert turns > 100


@pytest.mark.parametrize("name", NAMES)
async def test_cutting_a_long_text_hardly_changes_its_count(tokenizer: TiktokenTokenizer, name: str) -> None:
    walk = random.Random(1)
    words = ["token ", "gateway, ", "Überprüfung ", "漢字", "42 ", "(nested) ", "isn't ", "\n\n", "    indented "]
    text = "".join(walk.choices(words, k=60_000))

    counted = await tokenizer.count(name, [text])

    whole = len(vocabularies.load(name).encode_ordinary(text))
    assert len(text) > 3 * PIECE
    assert abs(counted - whole) <= 2 * (len(text) // PIECE)


@pytest.mark.parametrize(
    "texts", [["x" * (INLINE + 1)], ["word "] * (MAX_TEXTS + 1), ["word " * 500_000], ["", "é" * INLINE, "x"]]
)
async def test_whatever_is_large_is_counted_right_as_well(tokenizer: TiktokenTokenizer, texts: list[str]) -> None:
    encoding = vocabularies.load("cl100k_base")

    counted = await tokenizer.count("cl100k_base", texts)

    assert abs(counted - sum(len(encoding.encode_ordinary(text)) for text in texts)) <= 2 * sum(
        len(t) // PIECE for t in texts
    )


async def test_whoever_stops_waiting_leaves_a_working_tokenizer() -> None:
    tokenizer = TiktokenTokenizer()
    impatient = asyncio.create_task(tokenizer.count("cl100k_base", ["Hello, world!"]))
    await asyncio.sleep(0)

    impatient.cancel()

    assert await tokenizer.count("cl100k_base", ["Hello, world!"]) == 4
