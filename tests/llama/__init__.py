"""A real server of somebody else's: llama.cpp's own, over a tiny model with random weights made on the spot.

``python -m tests.llama --cache DIR --port 0`` listens on 127.0.0.1, prints ``{"port": N, "pid": M}`` and ends on
SIGTERM; ``tests.llama.process.LlamaProcess`` does that for fixtures. The text is nonsense; the tokeniser, the chat
template, stop tokens, usage, grammar-constrained JSON and tool calls are the real server's. Nothing is downloaded.

Two variants of the model: ``tiny`` answers in words; ``tools`` opens a tool call about every eight tokens, for
requests whose tool_choice asks for one.
"""

from typing import Literal

Variant = Literal["tiny", "tools"]
