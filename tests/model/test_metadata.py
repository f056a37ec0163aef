"""Metadata have no part in the pixels: however damaged or large they are, the image is that of the clean file."""

import io
import os
import re
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beamscribe.model.images import DecodedImage, decode_image
from beamscribe.model.metadata import without_metadata

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
SIZE = (24, 32)
PHOTOGRAPH = Image.fromarray(np.random.default_rng(3).integers(0, 256, SIZE + (3,), dtype=np.uint8))
LARGE = zlib.compress(b"node " * 400_000)  # 2 MB of text in 2 KB


def encode(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    PHOTOGRAPH.save(file, kind, **options)
    return file.getvalue()


def heif() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(PHOTOGRAPH).save(file, exif=exif(1), quality=90)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[274], block[271] = orientation, "maker"
    return block.tobytes()


def tiff_header(data: bytes) -> int:
    """Where EXIF begins in an ISO base media file."""
    found = re.compile(rb"II\*\0|MM\0\*").search(data, data.index(b"mdat"))
    assert found
    return found.start()


CLEAN = {
    "PNG": encode("PNG"),
    "JPEG": encode("JPEG", quality=95),
    "WEBP": encode("WEBP", lossless=True, exif=exif(1), xmp=b"<x/>", icc_profile=b"profile"),
    "GIF": encode("GIF"),
    "TIFF": encode("TIFF", compression="tiff_lzw"),
    "AVIF": encode("AVIF", quality=90, exif=exif(1)),
    "JPEG2000": encode("JPEG2000"),
}
PIXELS = {kind: decode_image(data, SIZE).pixels for kind, data in CLEAN.items()}


def check(kind: str, data: bytes) -> DecodedImage:
    """Decodes to the clean file's pixels, and names what was dropped if Pillow does not take the file as it is."""
    decoded = decode_image(data, SIZE)
    np.testing.assert_array_equal(decoded.pixels, PIXELS[kind])
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001 (of Pillow)
        # Pillow reads the EXIF of a TIFF, and the orientation in its XMP, while it loads pixels; here both are asked
        # for after the pixels, which then are whole and need no second attempt.
        assert "metadata-dropped" in decoded.repairs or (kind == "TIFF" and "exif-ignored" in decoded.repairs)
    return decoded


def chunk(name: bytes, data: bytes, wrong_checksum: int = 0, wrong_length: int = 0) -> bytes:
    checksum = zlib.crc32(name + data) ^ wrong_checksum
    return struct.pack(">I", max(0, len(data) + wrong_length)) + name + data + struct.pack(">I", checksum)


def in_png(extra: bytes, after_pixels: bool = False) -> bytes:
    data = CLEAN["PNG"]
    place = len(data) - 12 if after_pixels else 33
    return data[:place] + extra + data[place:]


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    extra = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return CLEAN["JPEG"][:2] + extra + CLEAN["JPEG"][2:]


def in_gif(*extensions: tuple[int, bytes]) -> bytes:
    data = CLEAN["GIF"]
    place = 13 + (3 << ((data[10] & 7) + 1))
    blocks = [
        bytes([0x21, label])
        + b"".join(bytes([len(part)]) + part for part in re.findall(rb"(?s).{1,255}", body))
        + b"\0"
        for label, body in extensions
    ]
    return data[:place] + b"".join(blocks) + data[place:]


def in_tiff(*tags: bytes) -> bytes:
    """Appends a directory with more tags of 12 bytes each."""
    data = CLEAN["TIFF"]
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    entries = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    entries = sorted([*entries, *tags], key=lambda entry: int.from_bytes(entry[:2], "little"))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


TEXT = st.one_of(st.binary(max_size=60), st.just(b"workflow\0\0" + LARGE), st.just(b"prompt\0\1\0\0\0" + LARGE))
PNG_NAMES = [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"abCd", b"fcTL"]


@settings(max_examples=EXAMPLES)
@given(
    st.lists(st.tuples(st.sampled_from(PNG_NAMES), TEXT, st.booleans(), st.sampled_from([0, 1, 200])), max_size=3),
    st.booleans(),
)
def test_png(chunks: list[tuple[bytes, bytes, bool, int]], after_pixels: bool) -> None:
    extra = b"".join(chunk(name, data, wrong, longer) for name, data, wrong, longer in chunks)
    check("PNG", in_png(extra, after_pixels))


@settings(max_examples=EXAMPLES)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0xE0, 0xE1, 0xE2, 0xED, 0xFE]),
            st.sampled_from(
                [
                    b"",
                    b"JFIF\0",
                    b"Exif\0\0",
                    b"ICC_PROFILE\0",
                    b"Photoshop 3.0\x008BIM",
                    b"http://ns.adobe.com/xap/1.0/\0",
                ]
            ),
            st.binary(max_size=40),
        ),
        max_size=4,
    )
)
def test_jpeg(parts: list[tuple[int, bytes, bytes]]) -> None:
    check("JPEG", in_jpeg(*((marker, prefix + body) for marker, prefix, body in parts)))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 500))
def test_webp(profile: bytes, block: bytes, longer: int) -> None:
    def riff(name: bytes, body: bytes, size: int | None = None) -> bytes:
        return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)

    place = CLEAN["WEBP"].index(b"VP8L")
    pixels = CLEAN["WEBP"][place : place + 8 + int.from_bytes(CLEAN["WEBP"][place + 4 : place + 8], "little")]
    pixels += b"\0" * (len(pixels) % 2)
    header = CLEAN["WEBP"][12:30]
    body = b"WEBP" + header + riff(b"ICCP", profile) + pixels + riff(b"EXIF", block, len(block) + longer)
    check("WEBP", riff(b"RIFF", body))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from([0xFE, 0xFF, 0x01, 0x77]), st.binary(max_size=600)), max_size=3))
def test_gif(extensions: list[tuple[int, bytes]]) -> None:
    check("GIF", in_gif(*extensions))


@settings(max_examples=EXAMPLES)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([270, 282, 283, 296, 305, 306, 700, 33723, 34377, 34665, 34675, 34853, 42112]),
            st.integers(0, 20),
            st.integers(0, 1 << 32 - 1),
            st.integers(0, 1 << 32 - 1),
        ),
        max_size=3,
        unique_by=lambda tag: tag[0],
    )
)
@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on damaged tags
def test_tiff(tags: list[tuple[int, int, int, int]]) -> None:
    check("TIFF", in_tiff(*(struct.pack("<HHII", *tag) for tag in tags)))


@settings(max_examples=EXAMPLES)
@given(st.dictionaries(st.integers(0, 30), st.integers(1, 255), max_size=4))
def test_avif(flips: dict[int, int]) -> None:
    data = bytearray(CLEAN["AVIF"])
    place = tiff_header(CLEAN["AVIF"]) - 4
    for offset, flip in flips.items():
        data[place + offset] ^= flip
    if decode_image(bytes(data), SIZE).repairs != ("exif-orientation",):  # a flip may give an orientation
        check("AVIF", bytes(data))


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_exif_of_a_phone_that_is_no_exif(kind: str) -> None:
    data = heif() if kind == "HEIF" else CLEAN["AVIF"]
    place = tiff_header(data)
    damaged = data[:place] + b"garbage!" + data[place + 8 :]
    decoded, clean = decode_image(damaged, SIZE), decode_image(data, SIZE)
    np.testing.assert_array_equal(decoded.pixels, clean.pixels)
    assert "exif-ignored" in decoded.repairs
    assert clean.repairs == ()


@pytest.mark.parametrize(
    "data",
    [
        in_png(chunk(b"zTXt", b"workflow\0\0" + LARGE)),
        in_png(chunk(b"iTXt", b"prompt\0\1\0\0\0" + LARGE)),
        in_png(chunk(b"iCCP", b"icc\0\0" + LARGE)),
        in_png(chunk(b"iCCP", b"icc\0\7")),
        in_png(chunk(b"zTXt", b"workflow\0\0" + LARGE), after_pixels=True),
        in_png(chunk(b"tEXt", b"Comment\0made", wrong_checksum=1)),
        in_png(chunk(b"tEXt", b"Comment\0made", wrong_length=100_000)),
        in_png(chunk(b"tEXt", b"Comment\0made", wrong_length=50)),
        in_png(b"".join(chunk(b"tEXt", b"key%d\0" % n + b"x" * 1_000_000) for n in range(70))),
        in_png(chunk(b"fcTL", bytes(26)) + chunk(b"fcTL", bytes(26))),
        in_png(chunk(b"tEXt", b"half of a text")[:-8], after_pixels=True)[:-12],
    ],
    ids=[
        "ztxt",
        "itxt",
        "iccp",
        "iccp-method",
        "ztxt-after",
        "checksum",
        "length-beyond",
        "length",
        "70-mb",
        "frames",
        "cut",
    ],
)
def test_png_that_pillow_gives_up(data: bytes) -> None:
    assert "metadata-dropped" in check("PNG", data).repairs


@pytest.mark.parametrize(
    "segment",
    [(0xE2, b"ICC_PROFILE\0"), (0xED, b"Photoshop 3.0\x008BIM\0\0"), (0xE0, b"JFIF\0"), (0xEE, b"Adobe")],
    ids=["icc", "photoshop", "jfif", "adobe"],
)
def test_jpeg_that_pillow_gives_up(segment: tuple[int, bytes]) -> None:
    assert "metadata-dropped" in check("JPEG", in_jpeg(segment)).repairs


def test_webp_whose_exif_reaches_beyond_the_file() -> None:
    data = CLEAN["WEBP"]
    place = data.index(b"EXIF") + 4
    assert "metadata-dropped" in check("WEBP", data[:place] + b"\xff\xff\0\0" + data[place + 4 :]).repairs


def test_the_orientation_is_kept_where_other_metadata_are_dropped() -> None:
    turned = decode_image(in_png(chunk(b"eXIf", exif(3)[6:])), SIZE)
    decoded = decode_image(in_png(chunk(b"zTXt", b"workflow\0\0" + LARGE) + chunk(b"eXIf", exif(3)[6:])), SIZE)
    np.testing.assert_array_equal(decoded.pixels, PIXELS["PNG"][::-1, ::-1])
    np.testing.assert_array_equal(decoded.pixels, turned.pixels)
    assert decoded.repairs == ("exif-orientation", "metadata-dropped")
    jpeg = decode_image(in_jpeg((0xE2, b"ICC_PROFILE\0"), (0xE1, exif(3))), SIZE)
    np.testing.assert_array_equal(jpeg.pixels, decode_image(in_jpeg((0xE1, exif(3))), SIZE).pixels)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    for data in (
        in_jpeg((0xE2, b"ICC_PROFILE\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
        in_png(chunk(b"iCCP", b"icc\0\7") + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
    ):
        assert decode_image(data, SIZE).repairs == ("exif-orientation", "metadata-dropped")


def test_exif_with_a_wrong_checksum_is_not_believed() -> None:
    decoded = check("PNG", in_png(chunk(b"eXIf", exif(3)[6:], wrong_checksum=1)))
    assert decoded.repairs == ("exif-ignored", "metadata-dropped")


def test_an_animation_with_a_damaged_frame_keeps_its_first() -> None:
    file = io.BytesIO()
    PHOTOGRAPH.save(file, "PNG", save_all=True, append_images=[PHOTOGRAPH.rotate(180)])
    data = file.getvalue()
    place = data.index(b"fcTL") + 4
    decoded = check("PNG", data[:place] + b"\1" + data[place + 1 :])
    assert decoded.repairs == ("first-frame", "metadata-dropped")


@pytest.mark.parametrize(
    "data",
    [
        in_gif((0xFE, b"x" * 12_000_000)),
        in_jpeg(*[(0xE1, b"Exif\0\0" + b"x" * 65_000)] * 400),
        in_png(chunk(b"eXIf", b"Exif\0\0" * 2_000_000)),
    ],
    ids=["comment", "exif-segments", "exif-prefixes"],
)
def test_huge_metadata_take_linear_time(data: bytes) -> None:
    begun = time.process_time()
    decode_image(data, SIZE)
    assert time.process_time() - begun < 5  # quadratic: minutes


def test_what_has_no_metadata_stays_as_it_is() -> None:
    for kind in ("PNG", "JPEG2000"):
        assert without_metadata(CLEAN[kind]) is None
    assert without_metadata(b"<html>") is None


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(sorted(CLEAN)), st.dictionaries(st.integers(0, 900), st.binary(max_size=4), max_size=6))
def test_of_damaged_files_it_raises_nothing(kind: str, damages: dict[int, bytes]) -> None:
    data = bytearray(CLEAN[kind])
    for position, damage in damages.items():
        data[position : position + len(damage)] = damage
    bare = without_metadata(bytes(data))
    assert bare is None or len(bare.data) <= len(data) + 1
