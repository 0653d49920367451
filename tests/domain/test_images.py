"""What an image costs, by OpenAI's published examples, and that no data URL can do harm."""

import base64
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.images import ImageRule, data_url_size, image_size, image_tokens

TILES = ImageRule()
ADDRESS = "https://example.com/cat.png"

# --- the heads of files -------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def gif(width: int, height: int, version: bytes = b"89a") -> bytes:
    return b"GIF" + version + struct.pack("<HHBBB", width, height, 0, 0, 0)


def jpeg(width: int, height: int, *, frame: int = 0xC0, metadata: int = 14, tables: bytes = b"") -> bytes:
    jfif = b"\xff\xe0" + struct.pack(">H", metadata + 2) + b"J" * metadata
    head = bytes((0xFF, frame)) + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x22\x00" * 3
    return b"\xff\xd8" + jfif + tables + head


def webp(form: bytes, payload: bytes) -> bytes:
    chunk = form + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def webp_lossy(width: int, height: int) -> bytes:
    # The two bits above each size scale it up when shown; they are not part of it.
    return webp(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height | 0x8000))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14 | 1 << 28))


def webp_extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", b"\x10\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def data_url(data: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


# --- prices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "detail", "tokens"),
    [
        # https://platform.openai.com/docs/guides/images-vision#calculating-costs
        ((1024, 1024), "high", 765),
        ((2048, 4096), "high", 1105),
        ((4096, 8192), "low", 85),
        # By the same rule: nothing is enlarged, one pixel more is one tile more.
        ((1, 1), "high", 255),
        ((512, 512), "high", 255),
        ((513, 512), "high", 425),
        ((512, 513), "high", 425),
        ((768, 768), "high", 765),
        ((2048, 768), "high", 85 + 8 * 170),
        ((4096, 1), "high", 85 + 4 * 170),
        ((1024, 1024), "auto", 765),
        ((1024, 1024), None, 765),
    ],
)
def test_tiles_cost_what_openai_publishes(size: tuple[int, int], detail: str | None, tokens: int) -> None:
    assert image_tokens(TILES, data_url(png(*size)), detail) == tokens


def test_a_model_may_have_prices_of_its_own_for_base_and_tile() -> None:
    mini = ImageRule(base=2833, tile=5667)

    assert image_tokens(mini, data_url(png(1024, 1024)), "high") == 2833 + 4 * 5667


@pytest.mark.parametrize(
    ("size", "factor", "tokens"),
    [
        # https://platform.openai.com/docs/guides/images-vision#calculating-costs
        ((1024, 1024), 1.0, 1024),
        ((1024, 1024), 1.62, 1659),
        ((32, 32), 1.0, 1),
        ((33, 32), 1.0, 2),
        ((32, 33), 1.0, 2),
        ((1, 1), 2.46, 3),
        ((1800, 2400), 1.0, 1452),
        ((10_000, 10_000), 1.0, 1521),
        ((10_000, 10_000), 1.62, 2465),
        ((100_000, 1), 1.0, 1),
    ],
)
def test_patches_cost_a_token_for_every_square_of_the_image_shrunk_to_the_cap(
    size: tuple[int, int], factor: float, tokens: int
) -> None:
    assert image_tokens(ImageRule("patches", factor=factor), data_url(png(*size)), "high") == tokens


@pytest.mark.parametrize("detail", ["low", "high", None])
def test_a_flat_price_does_not_depend_on_the_image(detail: str | None) -> None:
    flat = ImageRule("flat", tokens=1_568)

    assert image_tokens(flat, data_url(png(4096, 8192)), detail) == 1_568


@pytest.mark.parametrize(("rule", "tokens"), [(TILES, 765), (ImageRule("patches"), 1024)])
def test_an_image_that_is_elsewhere_is_taken_for_a_typical_one(rule: ImageRule, tokens: int) -> None:
    assert image_tokens(rule, ADDRESS, "high") == tokens


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480),
        gif(640, 480),
        gif(640, 480, b"87a"),
        webp_lossy(640, 480),
        webp_lossless(640, 480),
        webp_extended(640, 480),
        jpeg(640, 480),
        # Cut behind the size.
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHH", 17, 8, 480, 640),
        jpeg(640, 480, frame=0xC2),
        jpeg(640, 480, frame=0xCF),
        jpeg(640, 480, metadata=40_000),
        # A table (C4), a colour profile (E2) and a comment (FE) come before the frame.
        jpeg(640, 480, tables=b"\xff\xc4\x00\x04\x01\x02\xff\xe2\x00\x02\xff\xfe\x00\x05abc"),
        jpeg(640, 480, tables=b"\xff\xc8\x00\x02\xff\xcc\x00\x02"),
    ],
)
def test_the_size_is_read_from_the_head_of_a_file(data: bytes) -> None:
    assert data_url_size(data_url(data)) == (640, 480)


def test_base64_may_come_without_its_padding() -> None:
    url = data_url(png(640, 480))

    assert url.endswith("=")
    assert data_url_size(url.rstrip("=")) == (640, 480)


@pytest.mark.parametrize(
    "url",
    [
        "",
        ADDRESS,
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,====",
        "data:image/png;base64,\N{SNOWMAN}",
        data_url(png(640, 480)).replace(";base64", ""),
        data_url(png(640, 480)).replace("data:", "javascript:"),
        data_url(png(640, 480)).replace(",", ""),
        "data:image/svg+xml;base64,PHN2Zz4=",
        data_url(b"\x89PNG\r\n\x1a\n"),
        data_url(b"GIF89a"),
        data_url(b"RIFF\x00\x00\x00\x00WEBPVP8 "),
        data_url(webp(b"VP9 ", b"\x00" * 32)),
        data_url(b"RIFF\x00\x00\x00\x00WAVEVP8 " + b"\x00" * 32),
        data_url(webp_lossy(640, 480).replace(b"RIFF", b"JUNK")),
        data_url(b"\x00\x00" + jpeg(640, 480)[2:]),
        data_url(jpeg(640, 480).replace(b"\xff\xe0", b"\x00\xe0")),
        data_url(b"\xff\xd8"),
        data_url(b"\xff\xd8\xff\xc0\x00\x11"),
        data_url(b"\xff\xd8\xff\xe0\x00\x00" * 100),
        # Its frame lies behind more metadata than anybody reads.
        data_url(jpeg(640, 480, tables=(b"\xff\xe1\xff\xff" + b"\x00" * 65_533) * 2)),
    ],
)
def test_a_size_that_cannot_be_told_is_none(url: str) -> None:
    assert data_url_size(url) is None


MAGICS = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF1234WEBPVP8 ",
    b"RIFF1234WEBPVP8L",
    b"RIFF1234WEBPVP8X",
    b"\xff\xd8",
)


@given(st.sampled_from(MAGICS), st.binary(max_size=200))
@example(MAGICS[1], b"\x00" * 16)
@example(MAGICS[1], b"\xff" * 16)
def test_no_file_however_broken_raises_or_costs_less_than_nothing(magic: bytes, rest: bytes) -> None:
    url = data_url(magic + rest)

    prices = [image_tokens(rule, url, "high") for rule in (TILES, ImageRule("patches"))]

    assert prices[0] >= TILES.base
    assert prices[1] >= 0


@given(st.text(max_size=100), st.sampled_from(("", "data:", "data:image/png;base64,")))
def test_no_url_however_odd_raises(text: str, before: str) -> None:
    assert image_tokens(TILES, before + text, "high") >= TILES.base


def test_bytes_of_no_known_format_have_no_size() -> None:
    assert image_size(b"%PDF-1.7 and so on, at some length, with nothing that is an image") is None
