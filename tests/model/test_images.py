"""The decode policy: every pixel expected here was computed by hand."""

import io
import pickle
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from beamscribe.model.images import ImageError, decode_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of kinds that Pillow cannot write; `rows` have their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def row(kind: str, mode: str, *pixels: Any, **options: Any) -> bytes:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return encode(image, kind, **options)


def error_type(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, (4, 4), **options)
    assert caught.value.message
    return caught.value.error_type


def grey(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8))
KINDS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM")
FILES = {kind: encode(NOISE, kind) for kind in KINDS} | {
    "JPEG, progressive": encode(NOISE, "JPEG", progressive=True),
    "JPEG, CMYK": encode(NOISE.convert("CMYK"), "JPEG"),
    "PNG, palette": encode(NOISE.quantize(16), "PNG", transparency=3),
    "WEBP, lossless": encode(NOISE, "WEBP", lossless=True),
    "TIFF, LZW": encode(NOISE, "TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": encode(NOISE, "TIFF", compression="jpeg"),
    "JPEG2000, bare": encode(NOISE, "JPEG2000", no_jp2=True),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_format_decodes_by_its_bytes(kind: str) -> None:
    decoded = decode_image(FILES[kind], (8, 6))
    assert (decoded.pixels.shape, decoded.width, decoded.height) == ((8, 6, 3), 50, 40)
    assert 90 < decoded.pixels.mean() < 165  # the noise has mean 127.5


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_a_cut_file_is_truncated(kind: str, share: float) -> None:
    assert error_type(FILES[kind][: int(len(FILES[kind]) * share)]) == "Truncated"


GIVE_ROWS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "JPEG, CMYK", "PNG, palette")
"""Formats whose decoders hand out rows as they go; the others give all or nothing."""


@pytest.mark.parametrize("kind", FILES)
def test_what_was_decoded_of_a_cut_file_is_kept_where_that_is_wanted(kind: str) -> None:
    cut = FILES[kind][: int(len(FILES[kind]) * 0.7)]
    if kind not in GIVE_ROWS:
        assert error_type(cut, accept_truncated=True) == "Truncated"
        return
    decoded = decode_image(cut, (8, 6), accept_truncated=True)
    assert (decoded.width, decoded.height) == (50, 40)
    assert decoded.repairs[-1] == "truncated"
    assert decoded.pixels.min() > 40  # noise everywhere: no part is black, grey or invented


def test_a_cut_photograph_keeps_its_upper_part_and_a_bitmap_its_lower() -> None:
    halves = Image.new("RGB", (64, 64), RED)
    halves.paste(BLUE, (0, 32, 64, 64))
    upper = decode_image(encode(halves, "PPM")[: 20 + 64 * 20 * 3], (2, 2), accept_truncated=True)
    lower = decode_image(encode(halves, "BMP")[: 54 + 64 * 20 * 3], (2, 2), accept_truncated=True)
    assert np.unique(upper.pixels.reshape(-1, 3), axis=0).tolist() == [list(RED)]
    assert np.unique(lower.pixels.reshape(-1, 3), axis=0).tolist() == [list(BLUE)]


def test_a_whole_file_is_the_same_whether_cut_ones_are_wanted_or_not() -> None:
    for data in FILES.values():
        assert decode_image(data, (8, 6), accept_truncated=True).repairs == decode_image(data, (8, 6)).repairs


# A CMYK file of Pillow's whose Adobe marker is made to say YCCK. Its channels are stored inverted: 55, 128, 128, 200
# are then luma, two neutral chromas and black. The luma gives 255 - 55 of cyan, magenta and yellow, which is inverted
# to 55 as black is; what they leave of each colour is (255 - 55) * (255 - 55) / 255 = 157.
def test_ycck_is_told_from_cmyk_by_the_adobe_marker() -> None:
    data = encode(Image.new("CMYK", (16, 16), (200, 127, 127, 55)), "JPEG", quality=100)
    marker = data.index(b"Adobe") + 11
    assert data[marker] == 0
    decoded = decode_image(data[:marker] + b"\x02" + data[marker + 1 :], (2, 2))
    assert decoded.repairs == ("cmyk-to-rgb",)
    np.testing.assert_allclose(decoded.pixels, 157, atol=2)


def test_arithmetic_coding_gives_the_same_pixels(tmp_path: Path) -> None:
    jpegtran = shutil.which("jpegtran")
    if not jpegtran:
        pytest.skip("no jpegtran, which writes arithmetic-coded JPEG: install libjpeg-turbo-progs")
    (tmp_path / "huffman.jpg").write_bytes(FILES["JPEG"])
    command = [jpegtran, "-arithmetic", "-outfile", str(tmp_path / "arithmetic.jpg"), str(tmp_path / "huffman.jpg")]
    subprocess.run(command, check=True)
    data = (tmp_path / "arithmetic.jpg").read_bytes()
    assert b"\xff\xc9" in data  # the frame header of sequential arithmetic coding
    np.testing.assert_array_equal(decode_image(data, (8, 6)).pixels, decode_image(FILES["JPEG"], (8, 6)).pixels)
    assert error_type(data[: len(data) // 2]) == "Truncated"


def test_nothing_is_kept_of_a_file_that_gives_nothing() -> None:
    assert error_type(FILES["JPEG"][:200], accept_truncated=True) == "Truncated"
    assert error_type(b"<html>", accept_truncated=True) == "NotAnImage"


def test_a_photograph_of_a_phone() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(NOISE).save(file, quality=90)
    decoded = decode_image(file.getvalue(), (8, 6))
    assert (decoded.pixels.shape, decoded.width, decoded.height, decoded.repairs) == ((8, 6, 3), 50, 40, ())
    assert 90 < decoded.pixels.mean() < 165
    assert error_type(file.getvalue()[:-100]) == "Truncated"


def test_without_the_extra_a_photograph_of_a_phone_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"UnsupportedImage: .*pip install 'beamscribe\[heif\]'"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", (4, 4))


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_a_plain_jpeg_is_what_pillow_decodes_and_resizes_in_full(resample: str) -> None:
    decoded = decode_image(FILES["JPEG"], (5, 7), resample)
    whole = Image.open(io.BytesIO(FILES["JPEG"])).resize((7, 5), Image.Resampling[resample.upper()])
    assert decoded.repairs == ()
    np.testing.assert_array_equal(decoded.pixels, np.asarray(whole))


# Halving 0 0 255 255 with the filter stretched by two, about the centres 1 and 3. Bilinear weighs the pixels at
# distances 0.5, 0.5, 1.5 with 0.75, 0.75, 0.25: 255 * 0.25 / 1.75 = 36.4. Bicubic (a = -0.5) weighs those at 0.5, 0.5,
# 1.5, 2.5 with 0.8672, 0.8672, 0.2266, -0.0703: 255 * 0.1563 / 1.8907 = 21.1.
@pytest.mark.parametrize(("resample", "expected"), [("bilinear", (36, 219)), ("bicubic", (21, 234))])
def test_resize_is_antialiased(resample: str, expected: tuple[int, int]) -> None:
    decoded = decode_image(row("PNG", "L", 0, 0, 255, 255), (1, 2), resample)
    assert decoded.pixels[0, :, 0].tolist() == list(expected)


# The upright picture is ABC over DEF; how each orientation stores it, by the EXIF standard's "0th row, 0th column".
STORED = ["ABC DEF", "CBA FED", "FED CBA", "DEF ABC", "AD BE CF", "CF BE AD", "FC EB DA", "DA EB FC"]
LETTERS = dict(zip("ABCDEF", (RED, (0, 255, 0), BLUE, (255, 255, 0), (0, 0, 0), (255, 255, 255)), strict=True))


def letters(rows: str, scale: int = 1) -> np.ndarray:
    pixels = np.array([[LETTERS[letter] for letter in line] for line in rows.split()], np.uint8)
    return pixels.repeat(scale, 0).repeat(scale, 1)


def exif(orientation: Any) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


@pytest.mark.parametrize(("orientation", "stored_rows"), list(enumerate(STORED, start=1)))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied(orientation: int, stored_rows: str, kind: str) -> None:
    scale = 16 if kind == "JPEG" else 1  # whole JPEG blocks of one colour
    stored = Image.fromarray(letters(stored_rows, scale))
    of_kind: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    options = of_kind.get(kind, {})
    decoded = decode_image(encode(stored, kind, exif=exif(orientation), **options), (2 * scale, 3 * scale))
    np.testing.assert_allclose(decoded.pixels.astype(int), letters("ABC DEF", scale), atol=4 if kind == "JPEG" else 0)
    assert (decoded.width, decoded.height) == (3 * scale, 2 * scale)
    assert decoded.repairs == (() if orientation == 1 else ("exif-orientation",))


@pytest.mark.parametrize("block", [b"Exif\0\0junk", b"Exif\0\0II*\0\x08", exif(0), exif(9)])
def test_broken_exif_is_ignored_and_named(block: Any) -> None:
    decoded = decode_image(encode(Image.new("RGB", (16, 8), "white"), "JPEG", exif=block), (8, 16))
    assert (decoded.pixels == 255).all()
    assert (decoded.width, decoded.height, decoded.repairs) == (16, 8, ("exif-ignored",))


def test_orientation_in_xmp_counts_where_exif_is_silent() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    decoded = decode_image(encode(Image.fromarray(letters("AB")), "WEBP", lossless=True, xmp=xmp), (1, 2))
    np.testing.assert_array_equal(decoded.pixels, letters("BA"))
    assert decoded.repairs == ("exif-orientation",)


SAMPLES = (0, 255, 256, 0x8000, 0xFEFF, 0xFFFF)
LITTLE, BIG = struct.pack("<6H", *SAMPLES), struct.pack(">6H", *SAMPLES)
HIGH_BYTES = grey(0, 0, 1, 128, 254, 255)
BLACK_IS_ZERO, WHITE_IS_ZERO = (struct.pack("<HHIH", 262, 3, 1, value) for value in (1, 0))  # a TIFF's tag
PALETTE = (b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
DEEP_GREY, KEY = "16-bit-to-8-bit grey-to-rgb", b"\x12\x34"  # the key: a transparent sample of 16 bits


@pytest.mark.parametrize(
    ("data", "expected", "repairs"),
    [
        (row("PNG", "L", 0, 77), grey(0, 77), "grey-to-rgb"),
        (row("PNG", "1", 0, 255), grey(0, 255), "grey-to-rgb"),
        (png(2, 1, 8, 3, b"\0\1\0", PALETTE), [(40, 50, 60), (10, 20, 30)], "palette-to-rgb"),
        # CMYK without a profile: 255 - ink - black.
        (row("TIFF", "CMYK", (0, 128, 255, 0), (0, 0, 0, 51)), [(255, 127, 0), (204,) * 3], "cmyk-to-rgb"),
        # On white: (colour * alpha + 255 * (255 - alpha)) / 255.
        (row("PNG", "RGBA", (200, 100, 0, 51), (1, 2, 3, 0)), [(244, 224, 204), (255,) * 3], "alpha-on-white"),
        (row("PNG", "RGBA", (200, 100, 0, 255)), [(200, 100, 0)], ""),
        (row("PNG", "LA", (0, 128), (100, 51)), grey(127, 224), "grey-to-rgb alpha-on-white"),
        (png(1, 1, 8, 3, b"\0\1", PALETTE, (b"tRNS", b"\0\x33")), [(212, 214, 216)], "palette-to-rgb alpha-on-white"),
        (row("PNG", "RGB", RED, BLUE, transparency=RED), [(255,) * 3, BLUE], "alpha-on-white"),
        (row("PNG", "L", 9, 8, transparency=9), grey(255, 8), "grey-to-rgb alpha-on-white"),
        # 16 bits keep their high byte, in every order of the two.
        (encode(Image.frombytes("I;16", (6, 1), LITTLE), "PNG"), HIGH_BYTES, DEEP_GREY),
        (encode(Image.frombytes("I;16", (6, 1), LITTLE), "TIFF"), HIGH_BYTES, DEEP_GREY),
        (encode(Image.frombytes("I;16B", (6, 1), BIG), "TIFF"), HIGH_BYTES, DEEP_GREY),
        (row("PPM", "I", *SAMPLES), HIGH_BYTES, DEEP_GREY),
        (row("TIFF", "I", *SAMPLES), HIGH_BYTES, DEEP_GREY),
        (row("TIFF", "I;16", 0, 0x1234).replace(BLACK_IS_ZERO, WHITE_IS_ZERO), grey(255, 0xED), DEEP_GREY),
        (png(1, 1, 16, 2, b"\0\x12\x34\0\xff\xff\xff"), [(0x12, 0, 0xFF)], "16-bit-to-8-bit"),
        (png(1, 1, 16, 0, b"\0" + KEY, (b"tRNS", KEY)), grey(255), DEEP_GREY + " alpha-on-white"),
        (png(1, 1, 16, 0, b"\0\x12\x35", (b"tRNS", KEY)), grey(0x12), DEEP_GREY),
        (png(1, 1, 16, 2, b"\0" + KEY * 3, (b"tRNS", KEY * 3)), grey(255), "16-bit-to-8-bit alpha-on-white"),
        # Values outside the range are stretched; 127.5 rounds to the even 128.
        (row("TIFF", "I", -100, 0, 155), grey(0, 100, 255), "16-bit-to-8-bit range-stretched grey-to-rgb"),
        (row("TIFF", "I", 0, 65536, 131072), grey(0, 128, 255), "16-bit-to-8-bit range-stretched grey-to-rgb"),
        (row("TIFF", "F", 0.0, 0.5, 1.0), grey(0, 128, 255), "float-to-8-bit grey-to-rgb"),
        (row("TIFF", "F", -1.0, 0.0, 4.0), grey(0, 51, 255), "float-to-8-bit range-stretched grey-to-rgb"),
        (row("TIFF", "F", 7.0, 7.0), grey(0, 0), "float-to-8-bit range-stretched grey-to-rgb"),
    ],
)
def test_every_mode_becomes_opaque_rgb(data: bytes, expected: list[tuple[int, ...]], repairs: str) -> None:
    decoded = decode_image(data, (1, len(expected)))  # the stored size, so that no resampling blurs the values
    np.testing.assert_array_equal(decoded.pixels, np.array([expected], np.uint8), strict=True)  # shape and type too
    assert (decoded.width, decoded.height, " ".join(decoded.repairs)) == (len(expected), 1, repairs)


def test_inverted_cmyk_of_adobe_is_set_right() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data
    decoded = decode_image(data, (2, 2))
    np.testing.assert_allclose(decoded.pixels.astype(int), np.broadcast_to(RED, (2, 2, 3)), atol=3)
    assert decoded.repairs == ("cmyk-to-rgb",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_is_taken(kind: str) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE))
    decoded = decode_image(encode(first, kind, save_all=True, append_images=[second]), (2, 2))
    np.testing.assert_allclose(decoded.pixels.astype(int), np.broadcast_to(RED, (2, 2, 3)), atol=4)
    assert ("first-frame" in decoded.repairs) is (kind != "MPO")  # which is a photograph with extras


def test_a_gif_cut_in_its_second_frame_keeps_the_first() -> None:
    first, second = encode(NOISE, "GIF"), encode(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(180)])
    decoded = decode_image(second[: len(first) + 20], (40, 50))
    np.testing.assert_array_equal(decoded.pixels, decode_image(first, (40, 50)).pixels)
    assert decoded.repairs == ("first-frame", "palette-to-rgb")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "EmptyFile"),
        (FILES["JPEG"][:-1], "Truncated"),
        (row("TIFF", "F", 0.0, float("nan")), "UnsupportedImage"),
        (b"\xff\xd8", "NotAnImage"),
        (b"<html>404, this is no photograph</html>", "NotAnImage"),
        (b"BMW builds cars, and this text begins like a bitmap.", "NotAnImage"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "UnsupportedImage"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "DecodeFailed"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "UnsupportedImage"),
        (encode(Image.new("LAB", (2, 2)), "TIFF"), "UnsupportedImage"),
        (FILES["JPEG"].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "UnsupportedImage"),  # 12 bits
        (encode(NOISE, "BMP")[:28] + b"\x05\0" + encode(NOISE, "BMP")[30:], "UnsupportedImage"),  # 5 bits
        # Floating point of 64 bits.
        (
            row("TIFF", "F", 0.0).replace(
                struct.pack("<HHL", 258, 3, 1) + b"\x20", struct.pack("<HHL", 258, 3, 1) + b"\x40"
            ),
            "UnsupportedImage",
        ),
        (png(2, 1, 8, 3, b"\0\0\1"), "DecodeFailed"),  # a palette image without a palette
        (FILES["PNG"].replace(b"IDAT", b"IDAX"), "DecodeFailed"),  # a chunk whose checksum is wrong
        (png(50_000, 50_000, 8, 2, b""), "TooManyPixels"),
        (png(65_536, 1, 8, 0, b""), "TooManyPixels"),
    ],
)
def test_bytes_that_give_no_image(data: bytes, expected: str) -> None:
    assert error_type(data) == expected


def test_the_pixel_limit_is_the_callers_and_pillows_own_does_not_speak() -> None:
    data = encode(Image.new("RGB", (10, 10)), "PNG")
    assert error_type(data, max_pixels=99) == "TooManyPixels"
    assert decode_image(data, (1, 1), max_pixels=100).width == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of 95 million pixels where it opens files itself
        assert error_type(png(9_500, 10_000, 1, 0, b"\0")) == "Truncated"


def test_pillow_must_not_fill_in_missing_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        decode_image(FILES["JPEG"], (4, 4))


@pytest.mark.parametrize(("size", "resample"), [((0, 4), "bilinear"), ((4, -1), "bilinear"), ((4, 4), "lanczos")])
def test_a_wrong_call_is_no_image_error(size: tuple[int, int], resample: str) -> None:
    with pytest.raises(ValueError, match="size must be positive") as caught:
        decode_image(FILES["JPEG"], size, resample)
    assert not isinstance(caught.value, ImageError)


def test_image_error_crosses_processes() -> None:
    copy = pickle.loads(pickle.dumps(ImageError("Truncated", "the file ends")))
    assert (copy.error_type, copy.message, str(copy)) == ("Truncated", "the file ends", "Truncated: the file ends")


def test_threads_see_the_same_pixels_and_no_global_changes() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    work = list(FILES.values()) * 4
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda data: decode_image(data, (9, 9)), work))
    for data, decoded in zip(work, parallel, strict=True):
        np.testing.assert_array_equal(decoded.pixels, decode_image(data, (9, 9)).pixels)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on broken headers
@given(st.sampled_from(list(FILES)), st.dictionaries(st.integers(0, 400), st.binary(max_size=4), max_size=6))
def test_damaged_bytes_raise_nothing_but_image_error(kind: str, damages: dict[int, bytes]) -> None:
    data = bytearray(FILES[kind])
    for position, damage in damages.items():
        data[position : position + len(damage)] = damage
    try:
        outcome: object = decode_image(bytes(data), (4, 4), max_pixels=1_000_000).pixels.shape
    except ImageError as error:
        outcome = error.error_type
    assert outcome in {(4, 4, 3), "NotAnImage", "Truncated", "TooManyPixels", "UnsupportedImage", "DecodeFailed"}
