"""What an image in a prompt costs in tokens, by the rules that OpenAI publishes.

https://platform.openai.com/docs/guides/images-vision#calculating-costs
"""

import base64
import binascii
import math
import struct
from dataclasses import dataclass
from typing import Literal

#: The size that is assumed of an image whose bytes are not in the request, in pixels.
TYPICAL_SIZE = (1024, 1024)
#: Enough of a file to find its size: a JPEG keeps it behind its metadata.
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ImageRule:
    """How a model counts an image.

    tiles: ``base`` plus ``tile`` for every 512 px square of the scaled image; patches: ``factor`` for every 32 px
    square, ``cap`` of them at most; flat: ``tokens``, whatever the size.
    """

    rule: Literal["tiles", "patches", "flat"] = "tiles"
    base: int = 85
    tile: int = 170
    factor: float = 1.0
    cap: int = 1536
    tokens: int = 0


def image_tokens(rule: ImageRule, url: str, detail: str | None) -> int:
    """Tokens of one ``image_url`` part; ``url`` is an address or a data URL."""
    if rule.rule == "flat":
        return rule.tokens
    if rule.rule == "patches":
        return _patches(rule, *(data_url_size(url) or TYPICAL_SIZE))
    if detail == "low":
        return rule.base
    return _tiles(rule, *(data_url_size(url) or TYPICAL_SIZE))


def data_url_size(url: str) -> tuple[int, int] | None:
    """Width and height in pixels of the image in a base64 data URL; None where they cannot be told."""
    head, separator, payload = url.partition(",")
    if not separator or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    usable = payload[: _HEAD_BYTES // 3 * 4]
    try:
        return image_size(base64.b64decode(usable[: len(usable) // 4 * 4]))
    except (binascii.Error, ValueError, struct.error):
        return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, read from the head of a PNG, GIF, WebP or JPEG file."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    return None


def _tiles(rule: ImageRule, width: int, height: int) -> int:
    # Fit into 2048 x 2048, then bring the shorter side down to 768; smaller images are not enlarged.
    scale = min(1.0, 2048 / max(width, height, 1))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    scale = min(1.0, 768 / min(width, height))
    tiles = math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    return rule.base + rule.tile * tiles


def _patches(rule: ImageRule, width: int, height: int) -> int:
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches > rule.cap:
        # Shrunk until it fits, and then a little more, so that one side is of whole patches.
        across, down = width / 32, height / 32
        scale = math.sqrt(rule.cap / (across * down))
        scale *= min(math.floor(across * scale) / (across * scale), math.floor(down * scale) / (down * scale))
        patches = math.ceil(across * scale - 1e-9) * math.ceil(down * scale - 1e-9)
    return math.ceil(min(max(patches, 1), rule.cap) * rule.factor)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    form = data[12:16]
    if form == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if form == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    # Segments follow each other until a start-of-frame, which has the size. C4, C8 and CC are tables, not frames.
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None
