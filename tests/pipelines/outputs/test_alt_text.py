"""Alternative text is read back by exiftool and Pillow, and no pixel changes."""

import io
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beamscribe.pipelines.outputs.alt_text import MOST_LETTERS, packet, shortened
from beamscribe.pipelines.outputs.embedding import JPEG_KEY, UnfitError, embedded

CAPTION = 'A "dog" & a <cat> by the sea, é.'
OTHERS = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="4">'
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">an older one</rdf:li></rdf:Alt></dc:description>'
    "<dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def picture(kind: str, **options: object) -> bytes:
    mode = str(options.pop("mode", "RGB"))
    noise = np.random.default_rng(7).integers(0, 255, (37, 51, len(mode)), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


PICTURES = {
    "a.jpg": picture("JPEG"),
    "b.jpg": picture("JPEG", progressive=True, comment=b"c", icc_profile=b"x" * 200),
    "c.png": picture("PNG"),
    "e.webp": picture("WEBP"),
    "f.webp": picture("WEBP", lossless=True, mode="RGBA"),
    "g.webp": picture("WEBP", xmp=OTHERS.encode()),
    "h.jpg": picture("JPEG", xmp=OTHERS.encode()),
}


def simple_webp(kind: str) -> bytes:
    """A file of one chunk, as encoders write it where there is no metadata."""
    buffer = io.BytesIO()
    Image.new("RGB", (33, 21), "teal").save(buffer, "WEBP", lossless=kind == "VP8L")
    assert buffer.getvalue()[12:16].decode().strip() == kind
    return buffer.getvalue()


PICTURES |= {"i.webp": simple_webp("VP8"), "j.webp": simple_webp("VP8L")}


@pytest.mark.parametrize("name", PICTURES)
def test_no_pixel_changes(name: str) -> None:
    before = PICTURES[name]
    once = embedded(before, CAPTION)
    assert embedded(once, CAPTION).count(b"AltTextAccessibility>") == once.count(b"AltTextAccessibility>") == 2
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(once)) as new:
        assert (new.size, new.mode, new.getexif()) == (old.size, old.mode, old.getexif())
        assert new.info.get("icc_profile") == old.info.get("icc_profile")
        assert new.tobytes() == old.tobytes()
        assert b"AltTextAccessibility" in new.info["xmp"] if "xmp" in new.info else "AltText" in str(new.info)


def test_only_metadata_is_added() -> None:
    before, after = PICTURES["a.jpg"], embedded(PICTURES["a.jpg"], CAPTION)
    at = after.index(JPEG_KEY) - 4
    length = struct.unpack(">H", after[at + 2 : at + 4])[0]
    assert after[:at] + after[at + 2 + length :] == before
    scan = before.index(b"\xff\xda")
    assert after.endswith(before[scan:])


def test_exiftool_reads_it_back(tmp_path: Path) -> None:
    if not shutil.which("exiftool"):
        pytest.skip("exiftool (Debian: libimage-exiftool-perl) is not installed")
    for name, data in PICTURES.items():
        (tmp_path / name).write_bytes(embedded(data, CAPTION))
        (tmp_path / f"{name}.xmp").write_text(packet(CAPTION))
        (tmp_path / f"empty-{name}").write_bytes(embedded(data, ""))
    asked = ["exiftool", "-json", "-G1", "-validate", "-warning", "-XMP:all", str(tmp_path)]
    found = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    asked = ["exiftool", "-json", "-G1", "-XMP:all", "-ext", "xmp", str(tmp_path)]
    found += json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    by_name = {Path(one["SourceFile"]).name: one for one in found}
    for name in PICTURES:
        for told in (by_name[name], by_name[f"{name}.xmp"]):
            assert told["XMP-iptcCore:AltTextAccessibility"] == CAPTION
            assert told["XMP-iptcCore:ExtDescrAccessibility"] == CAPTION
            assert told["XMP-dc:Description"] == CAPTION
        assert by_name[f"empty-{name}"]["XMP-iptcCore:AltTextAccessibility"] == ""
        assert "XMP-dc:Description" not in by_name[f"empty-{name}"]
    for name in ("g.webp", "h.jpg"):
        assert (by_name[name]["XMP-xmp:Rating"], by_name[name]["XMP-dc:Subject"]) == (4, "holiday")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        PICTURES["a.jpg"][:9],
        PICTURES["c.png"][:20],
        b"RIFF\4\0\0\0WEBP",
        PICTURES["h.jpg"].replace(b"<rdf:Bag>", b"<rdf:Bog>"),
        PICTURES["h.jpg"].replace(b"<dc:subject>", b"<!ENTITY a>X"),
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")),
    ],
)
def test_what_is_unfit_is_said(data: bytes) -> None:
    with pytest.raises(UnfitError):
        embedded(data, CAPTION)


def test_a_long_text_is_cut_where_it_may_be() -> None:
    assert shortened("short") == "short"
    assert shortened("A dog runs. " * 30).endswith("runs.")
    cut = shortened("word " * 100)
    assert cut.endswith("word…")
    assert len(cut) <= MOST_LETTERS
    assert "word " * 99 in packet("word " * 100)
