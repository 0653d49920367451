"""Writes a llama-architecture GGUF of half a megabyte with random weights.

One hidden dimension is a constant that the layers never write. Its column in the output matrix is each token's bias,
so that control and raw-byte tokens are nearly never sampled and the end token comes about every forty tokens: answers
are printable words, and end with both "stop" and "length".
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.llama import Variant

Weights = NDArray[np.float32]

#: Changes with whatever changes the file, so that a cache never serves an old model.
RECIPE = 1
SEED = 7
WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 4096
TOKENS_PER_ANSWER = 40
TOKENS_PER_TOOL_CALL = 8

#: The constant dimension of an embedding, and the spread of the others.
CONSTANT, SPREAD = 4.0, 0.5
#: Low enough that a token of this bias is nearly never sampled.
NEVER = -30.0
#: The random part of a word's logit lifts the words' share; this keeps the special tokens level with it.
LIFT = 1.2

UNKNOWN, BEGIN, PAD, TURN_BEGIN, TURN_END = range(5)
SPACE = "\u2581"  # how SentencePiece writes a space
# The newline belongs to the token: the server's grammar opens a tool call with exactly this text.
TOOL_CALL = "<tool_call>\n"
_TEXT = (
    "the a an of to in is it and for that with as on by at from this we you they gateway token stream model answer "
    "question route tenant budget quota retry cache prompt reply limit fast slow red green blue one two three four "
    "five six seven eight nine ten north south east west river stone cloud light signal paper glass metal winter "
    "summer morning evening small large early late open closed first last never always maybe often rarely about"
)
WORDS = _TEXT.split()

#: Hermes-style ChatML, which makes the server offer tool calls (by grammar, where tool_choice demands one).
TEMPLATE = """{%- if tools %}<|im_start|>system
You may call functions. Tools: <tools>{% for t in tools %}{{ t | tojson }}
{% endfor %}</tools>
Answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{%- for m in messages %}{%- if m.role == 'tool' %}<|im_start|>tool
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% elif m.content %}{% for p in m.content %}{% if p.type == 'text' %}\
{{ p.text }}{% endif %}{% endfor %}{% endif %}{% if m.tool_calls %}{% for c in m.tool_calls %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endif %}{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: gguf.TokenType


def cached(directory: Path, variant: Variant) -> Path:
    """The model's file in ``directory``, written unless it is there; several processes may ask at once."""
    path = directory / f"{variant}-{RECIPE}-{SEED}.gguf"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        write(unfinished, variant)
        unfinished.replace(path)
    return path


def write(path: Path, variant: Variant) -> None:
    tokens = list(_vocabulary())
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, len(tokens))
    _add_tokenizer(writer, tokens)
    for name, weights in _tensors(tokens, variant):
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary() -> Iterator[Token]:
    """Control tokens in the order of their ids, every byte, words, ASCII (which JSON grammars need), the rest."""
    yield Token("<unk>", 0.0, gguf.TokenType.UNKNOWN)
    for text in ("<s>", "</s>", "<|im_start|>", "<|im_end|>"):
        yield Token(text, 0.0, gguf.TokenType.CONTROL)
    for byte in range(256):
        yield Token(f"<0x{byte:02X}>", 0.0, gguf.TokenType.BYTE)
    for rank, word in enumerate(WORDS, start=1):
        yield Token(SPACE + word, -float(rank), gguf.TokenType.NORMAL)
    for code in range(0x21, 0x7F):
        yield Token(chr(code), -1000.0 - code, gguf.TokenType.NORMAL)
    yield Token(TOOL_CALL, -1.0, gguf.TokenType.NORMAL)
    yield Token(SPACE, -2000.0, gguf.TokenType.NORMAL)
    yield Token("\n", -2001.0, gguf.TokenType.NORMAL)


def _describe(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    writer.add_name("tiny-random-llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: list[Token]) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.text.encode() for token in tokens])
    writer.add_token_scores([token.score for token in tokens])
    writer.add_token_types([token.kind for token in tokens])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(TURN_END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    # With a space prefix every grammar fails: "Failed to initialize samplers".
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _tensors(tokens: list[Token], variant: Variant) -> Iterator[tuple[str, Weights]]:
    random = np.random.default_rng(SEED)
    embedding = _noise(random, len(tokens), WIDTH, scale=SPREAD)
    embedding[:, 0] = CONSTANT
    output = _noise(random, len(tokens), WIDTH, scale=0.25)
    output[:, 0] = _bias(tokens, variant) / _constant_after_norm()
    yield "token_embd.weight", embedding
    yield "output_norm.weight", np.ones(WIDTH, np.float32)
    yield "output.weight", output
    for layer in range(LAYERS):
        yield from _layer(random, f"blk.{layer}.")


def _layer(random: np.random.Generator, prefix: str) -> Iterator[tuple[str, Weights]]:
    yield f"{prefix}attn_norm.weight", np.ones(WIDTH, np.float32)
    yield f"{prefix}ffn_norm.weight", np.ones(WIDTH, np.float32)
    for name in ("attn_q", "attn_k", "attn_v"):
        yield f"{prefix}{name}.weight", _noise(random, WIDTH, WIDTH)
    yield f"{prefix}attn_output.weight", _sparing_constant(_noise(random, WIDTH, WIDTH))
    yield f"{prefix}ffn_gate.weight", _noise(random, FEED_FORWARD, WIDTH)
    yield f"{prefix}ffn_up.weight", _noise(random, FEED_FORWARD, WIDTH)
    yield f"{prefix}ffn_down.weight", _sparing_constant(_noise(random, WIDTH, FEED_FORWARD))


def _bias(tokens: list[Token], variant: Variant) -> Weights:
    """Each token's logit before its random part."""
    bias = np.full(len(tokens), NEVER, np.float32)
    for index, token in enumerate(tokens):
        if token.text.startswith(SPACE) and token.text != SPACE:
            bias[index] = 0.0
        elif token.text == TOOL_CALL and variant == "tools":
            bias[index] = math.log(len(WORDS) / TOKENS_PER_TOOL_CALL) + LIFT
    end = 1 / TOKENS_PER_ANSWER
    bias[TURN_END] = math.log(end * len(WORDS) / (1 - end)) + LIFT
    return bias


def _constant_after_norm() -> float:
    """What the last RMS norm makes of the constant dimension."""
    return CONSTANT / math.sqrt((CONSTANT**2 + (WIDTH - 1) * SPREAD**2) / WIDTH)


def _noise(random: np.random.Generator, rows: int, columns: int, *, scale: float = 0.08) -> Weights:
    return (random.standard_normal((rows, columns)) * scale).astype(np.float32)


def _sparing_constant(weights: Weights) -> Weights:
    """``weights`` that write nothing into the constant dimension."""
    weights[0, :] = 0.0
    return weights
