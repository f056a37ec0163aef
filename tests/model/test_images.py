"""The decode policy: every pixel expected here was computed by hand."""

import io
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from model.images import DecodedImage, ImageError, decode_image

RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION = 274


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


def row(mode: str, *pixels: Any) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def decode_row(data: bytes, width: int) -> tuple[list[tuple[int, ...]], tuple[str, ...]]:
    """Decodes at the stored size, so that no resampling blurs the values."""
    decoded = decode_image(data, (1, width))
    assert (decoded.pixels.shape, decoded.pixels.dtype) == ((1, width, 3), np.uint8)
    assert (decoded.width, decoded.height) == (width, 1)
    return [tuple(pixel) for pixel in decoded.pixels[0].tolist()], decoded.repairs


def error_type(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, (4, 4), **options)
    assert caught.value.message
    return caught.value.error_type


def grey(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8))
FILES = {
    "jpeg": encode(NOISE, "JPEG"),
    "jpeg, progressive": encode(NOISE, "JPEG", progressive=True),
    "jpeg, CMYK": encode(NOISE.convert("CMYK"), "JPEG"),
    "png": encode(NOISE, "PNG"),
    "png, palette": encode(NOISE.quantize(16), "PNG", transparency=3),
    "gif": encode(NOISE, "GIF"),
    "webp": encode(NOISE, "WEBP"),
    "webp, lossless": encode(NOISE, "WEBP", lossless=True),
    "avif": encode(NOISE, "AVIF"),
    "bmp": encode(NOISE, "BMP"),
    "tiff": encode(NOISE, "TIFF"),
    "tiff, LZW": encode(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff, JPEG": encode(NOISE, "TIFF", compression="jpeg"),
    "jpeg 2000": encode(NOISE, "JPEG2000"),
    "jpeg 2000, bare": encode(NOISE, "JPEG2000", no_jp2=True),
    "ppm": encode(NOISE, "PPM"),
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


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_jpeg_without_its_last_bytes_is_truncated(cut: int) -> None:
    assert error_type(FILES["jpeg"][:-cut]) == "Truncated"


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_a_plain_jpeg_is_what_pillow_decodes_and_resizes_in_full(resample: str) -> None:
    decoded = decode_image(FILES["jpeg"], (5, 7), resample)
    whole = Image.open(io.BytesIO(FILES["jpeg"])).resize((7, 5), Image.Resampling[resample.upper()])
    assert decoded.repairs == ()
    np.testing.assert_array_equal(decoded.pixels, np.asarray(whole))


# Halving 0 0 255 255 with the filter stretched by two, about the centres 1 and 3. Bilinear weighs the pixels at
# distances 0.5, 0.5, 1.5 with 0.75, 0.75, 0.25: 255 * 0.25 / 1.75 = 36.4. Bicubic (a = -0.5) weighs those at 0.5, 0.5,
# 1.5, 2.5 with 0.8672, 0.8672, 0.2266, -0.0703: 255 * 0.1563 / 1.8907 = 21.1.
@pytest.mark.parametrize(("resample", "expected"), [("bilinear", (36, 219)), ("bicubic", (21, 234))])
def test_resize_is_antialiased(resample: str, expected: tuple[int, int]) -> None:
    decoded = decode_image(encode(row("L", 0, 0, 255, 255), "PNG"), (1, 2), resample)
    assert decoded.pixels[0, :, 0].tolist() == list(expected)
    assert (decoded.width, decoded.height) == (4, 1)


# The upright picture is ABC over DEF; how each orientation stores it, by the EXIF standard's "0th row, 0th column".
STORED = {
    1: "ABC DEF",
    2: "CBA FED",
    3: "FED CBA",
    4: "DEF ABC",
    5: "AD BE CF",
    6: "CF BE AD",
    7: "FC EB DA",
    8: "DA EB FC",
}
LETTERS = dict(zip("ABCDEF", (RED, (0, 255, 0), BLUE, (255, 255, 0), (0, 0, 0), (255, 255, 255)), strict=True))


def letters(rows: str, scale: int = 1) -> np.ndarray:
    pixels = np.array([[LETTERS[letter] for letter in line] for line in rows.split()], np.uint8)
    return pixels.repeat(scale, 0).repeat(scale, 1)


def exif(orientation: Any) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    scale = 16 if kind == "JPEG" else 1  # whole JPEG blocks of one colour
    stored = Image.fromarray(letters(STORED[orientation], scale))
    options: dict[str, Any] = {
        "PNG": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95, "subsampling": 0},
    }[kind]
    decoded = decode_image(encode(stored, kind, exif=exif(orientation), **options), (2 * scale, 3 * scale))
    np.testing.assert_allclose(decoded.pixels.astype(int), letters("ABC DEF", scale), atol=4 if kind == "JPEG" else 0)
    assert (decoded.width, decoded.height) == (3 * scale, 2 * scale)
    assert decoded.repairs == (() if orientation == 1 else ("exif-orientation",))


def test_a_turned_image_is_resized_to_the_size_asked_for() -> None:
    decoded = decode_image(encode(Image.new("RGB", (40, 20), RED), "PNG", exif=exif(6)), (10, 6))
    assert (decoded.pixels.shape, decoded.width, decoded.height) == ((10, 6, 3), 20, 40)
    assert (decoded.pixels == RED).all()


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


def sixteen(kind: str, *values: int) -> bytes:
    order = ">" if kind.endswith("B") else "<"
    packed = struct.pack(f"{order}{len(values)}H", *values)
    if kind == "PNG colour":
        triples = struct.pack(f">{3 * len(values)}H", *np.repeat(values, 3))
        return png(len(values), 1, 16, 2, b"\0" + triples)
    if kind == "PGM":
        return encode(row("I", *values), "PPM")
    if kind == "TIFF I":
        return encode(row("I", *values), "TIFF")
    file, mode = kind.split()
    return encode(Image.frombytes(mode, (len(values), 1), packed), file)


@pytest.mark.parametrize("kind", ["PNG I;16", "TIFF I;16", "TIFF I;16B", "PGM", "TIFF I", "PNG colour"])
def test_sixteen_bits_keep_their_high_byte(kind: str) -> None:
    pixels, repairs = decode_row(sixteen(kind, 0, 255, 256, 0x8000, 0xFEFF, 0xFFFF), 6)
    assert pixels == grey(0, 0, 1, 128, 254, 255)
    assert repairs == ("16-bit-to-8-bit", *(() if kind == "PNG colour" else ("grey-to-rgb",)))


def test_sixteen_bit_tiff_where_zero_is_white_is_inverted() -> None:
    data = sixteen("TIFF I;16", 0x0000, 0x1234)
    tag = struct.pack("<HHI", 262, 3, 1)  # photometric interpretation, one short: 1, black is zero
    assert data.count(tag + b"\1") == 1
    assert decode_row(data.replace(tag + b"\1", tag + b"\0"), 2)[0] == grey(255, 0xED)


@pytest.mark.parametrize(
    ("mode", "values", "expected", "repairs"),
    [
        ("F", (0.0, 0.5, 1.0), (0, 128, 255), ("float-to-8-bit",)),  # 127.5 rounds to the even 128
        ("F", (-1.0, 0.0, 4.0), (0, 51, 255), ("float-to-8-bit", "range-stretched")),
        ("F", (7.0, 7.0, 7.0), (0, 0, 0), ("float-to-8-bit", "range-stretched")),
        ("I", (-100, 0, 155), (0, 100, 255), ("16-bit-to-8-bit", "range-stretched")),
        ("I", (0, 65536, 131072), (0, 128, 255), ("16-bit-to-8-bit", "range-stretched")),
    ],
)
def test_float_and_32_bit_samples(mode: str, values: Any, expected: Any, repairs: tuple[str, ...]) -> None:
    assert decode_row(encode(row(mode, *values), "TIFF"), 3) == (grey(*expected), (*repairs, "grey-to-rgb"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_unsupported(value: float) -> None:
    assert error_type(encode(row("F", 0.0, value), "TIFF")) == "UnsupportedImage"


def plain(mode: str, *pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    return encode(row(mode, *pixels), kind, **options)


PALETTE = (b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
TRANSPARENT_HALF = (b"tRNS", bytes([0, 51]))


@pytest.mark.parametrize(
    ("data", "expected", "repairs"),
    [
        (plain("L", 0, 77), grey(0, 77), ("grey-to-rgb",)),
        (plain("1", 0, 255), grey(0, 255), ("grey-to-rgb",)),
        (png(2, 1, 8, 3, b"\0\1\0", PALETTE), [(40, 50, 60), (10, 20, 30)], ("palette-to-rgb",)),
        # CMYK without a profile: 255 - ink - black.
        (plain("CMYK", (0, 128, 255, 0), (0, 0, 0, 51), kind="TIFF"), [(255, 127, 0), (204,) * 3], ("cmyk-to-rgb",)),
        # On white: (colour * alpha + 255 * (255 - alpha)) / 255.
        (plain("RGBA", (200, 100, 0, 51), (1, 2, 3, 0)), [(244, 224, 204), (255,) * 3], ("alpha-on-white",)),
        (plain("RGBA", (200, 100, 0, 255), (1, 2, 3, 255)), [(200, 100, 0), (1, 2, 3)], ()),
        (plain("LA", (0, 128), (100, 51)), grey(127, 224), ("grey-to-rgb", "alpha-on-white")),
        (
            png(2, 1, 8, 3, b"\0\0\1", PALETTE, TRANSPARENT_HALF),
            [(255,) * 3, (212, 214, 216)],
            ("palette-to-rgb", "alpha-on-white"),
        ),
        (plain("RGB", RED, BLUE, transparency=RED), [(255,) * 3, BLUE], ("alpha-on-white",)),
        (plain("L", 9, 8, transparency=9), grey(255, 8), ("grey-to-rgb", "alpha-on-white")),
        (
            png(2, 1, 16, 0, b"\0\x12\x34\x12\x35", (b"tRNS", b"\x12\x34")),
            grey(255, 0x12),
            ("16-bit-to-8-bit", "grey-to-rgb", "alpha-on-white"),
        ),
        (
            png(2, 1, 16, 2, b"\0" + b"\x12\x34" * 3 + b"\x56\x34" * 3, (b"tRNS", b"\x12\x34" * 3)),
            grey(255, 0x56),
            ("16-bit-to-8-bit", "alpha-on-white"),
        ),
    ],
)
def test_colour_becomes_opaque_rgb(data: bytes, expected: list[tuple[int, ...]], repairs: tuple[str, ...]) -> None:
    assert decode_row(data, 2) == (expected, repairs)


def test_inverted_cmyk_of_adobe_is_set_right() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data
    decoded = decode_image(data, (2, 2))
    np.testing.assert_allclose(decoded.pixels.astype(int), np.broadcast_to(RED, (2, 2, 3)), atol=3)
    assert decoded.repairs == ("cmyk-to-rgb",)


@pytest.mark.parametrize(
    ("kind", "named"), [("GIF", True), ("PNG", True), ("WEBP", True), ("TIFF", True), ("MPO", False)]
)
def test_the_first_frame_is_taken(kind: str, named: bool) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    decoded = decode_image(data, (2, 2))
    np.testing.assert_allclose(decoded.pixels.astype(int), np.broadcast_to(RED, (2, 2, 3)), atol=4)
    assert ("first-frame" in decoded.repairs) is named  # MPO: a photograph with extras, no animation


def test_a_gif_cut_in_its_second_frame_keeps_the_first() -> None:
    first, second = encode(NOISE, "GIF"), encode(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(180)])
    decoded = decode_image(second[: len(first) + 20], (40, 50))
    np.testing.assert_array_equal(decoded.pixels, decode_image(first, (40, 50)).pixels)
    assert decoded.repairs == ("first-frame", "palette-to-rgb")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "EmptyFile"),
        (b"\xff\xd8", "NotAnImage"),
        (b"This is no photograph.", "NotAnImage"),
        (b"BMW builds cars, and this text begins like a bitmap.", "NotAnImage"),
        (b"<!DOCTYPE html><html>404</html>", "NotAnImage"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "UnsupportedImage"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "UnsupportedImage"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "UnsupportedImage"),
        (b"%PDF-1.7", "UnsupportedImage"),
        (encode(Image.new("LAB", (2, 2)), "TIFF"), "UnsupportedImage"),
        (png(2, 1, 8, 3, b"\0\0\1"), "DecodeFailed"),  # a palette image without a palette
        (FILES["png"].replace(b"IDAT", b"IDAX"), "DecodeFailed"),  # a chunk whose checksum is wrong
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
        decode_image(FILES["jpeg"], (4, 4))


@pytest.mark.parametrize(("size", "resample"), [((0, 4), "bilinear"), ((4, -1), "bilinear"), ((4, 4), "lanczos")])
def test_a_wrong_call_is_no_image_error(size: tuple[int, int], resample: str) -> None:
    with pytest.raises(ValueError, match="size must be positive") as caught:
        decode_image(FILES["jpeg"], size, resample)
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
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on broken headers
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=6),
)
def test_damaged_bytes_raise_nothing_but_image_error(kind: str, damages: list[tuple[int, bytes]]) -> None:
    data = bytearray(FILES[kind])
    for position, damage in damages:
        data[position : position + len(damage)] = damage
    try:
        outcome: DecodedImage | str = decode_image(bytes(data), (4, 4), max_pixels=1_000_000)
    except ImageError as error:
        outcome = error.error_type
    if isinstance(outcome, str):
        assert outcome in {"NotAnImage", "Truncated", "TooManyPixels", "UnsupportedImage", "DecodeFailed"}
    else:
        assert outcome.pixels.shape == (4, 4, 3)
