"""What corpora hold that others made: odd names, links and liars. Each is captioned as what it is, is a failure
row, or is refused in one line. Every file is made here."""

import hashlib
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe import main
from beamscribe.errors import CHECK_FAILED, DONE, REFUSED
from beamscribe.model.bundle import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


def picture(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def jpeg(seed: int) -> bytes:
    return encoded(picture(seed))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Captioned(NamedTuple):
    """What a run left: the exit code, rows and failures by URI below the folder of the test, and what was printed."""

    code: int
    rows: dict[str, dict[str, Any]]
    failures: dict[str, dict[str, Any]]
    told: str


@pytest.fixture
def caption(tmp_path: Path, untrained_bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> Callable[..., Captioned]:
    """Runs `beamscribe caption` in this process, where the model is built once for all tests."""

    def run(*flags: str, output: str = "output") -> Captioned:
        folder = tmp_path / output
        command = ["caption", *flags, "--model", untrained_bundle.path, "--output", str(folder), "--max-length", "4"]
        capfd.readouterr()
        code = main(command)
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        assert "\x1b" not in told.out + told.err
        if code == REFUSED:
            assert told.err.splitlines()[-1].startswith("beamscribe caption: ")

        def read(name: str) -> dict[str, dict[str, Any]]:
            if not (folder / name).is_dir():
                return {}
            found = ds.dataset(folder / name, format="parquet").to_table().to_pylist()
            return {row["image_uri"].replace(f"file://{tmp_path}/", ""): row for row in found}

        return Captioned(code, read("captions"), read("failures"), told.out + told.err)

    return run


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_loose_files_are_read_under_their_own_names(caption: Callable[..., Captioned], tmp_path: Path) -> None:
    """Names with syntax in them, links, damaged and huge metadata, and what is no image, in one run."""
    folder = tmp_path / "in"
    (folder / "two::parts").mkdir(parents=True)
    files = {
        "cat.jpg": jpeg(1),
        "cat.jpg::1.jpg": jpeg(2),
        "a::b.jpg": jpeg(3),
        "two::parts/c.jpg": jpeg(4),
        "100%41.jpg": jpeg(5),
        "what?#.jpg": jpeg(6),
        "[1].jpg": jpeg(7),
        "*.jpg": jpeg(8),
        "~x.jpg": jpeg(9),
        "line\nend.jpg": jpeg(10),
        "esc\x1b[2J.jpg": jpeg(11),
        "m" * 240 + ".jpg": jpeg(12),
    }
    png = encoded(picture(20), "PNG")
    big = zlib.compress(b"node " * 400_000)
    files |= {
        "ztxt.png": png[:33] + chunk(b"zTXt", b"workflow\0\0" + big) + png[33:],
        "iccp.png": png[:33] + chunk(b"iCCP", b"icc\0\0" + big) + png[33:],
        "crc.png": png[:33] + chunk(b"tEXt", b"Comment\0made")[:-1] + b"\0" + png[33:],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (tmp_path / "blob").write_bytes(jpeg(13))
    (folder / "link.jpg").symlink_to(tmp_path / "blob")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.md").write_text("no image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    found = caption("--images", str(folder), "--max-bytes", "1000000")
    assert found.code == DONE, found.told
    wrong = {name for name, data in files.items() if found.rows.get(f"in/{name}", {}).get("sha256") != digest(data)}
    assert wrong == set()
    assert found.rows["in/link.jpg"]["sha256"] == digest(jpeg(13))
    assert {"in/empty.jpg", "in/text.jpg"} <= set(found.failures)
    assert not {"in/pipe.jpg", "in/zero.jpg"} & set(found.rows)
    assert main(["verify", str(tmp_path / "output")]) == DONE
    for flags in (["--images", f"{folder}/l*.jpg"], ["--images", str(folder / "a::b.jpg")]):
        other = caption(*flags, output=f"of-{len(flags[1])}")
        assert other.code == DONE, other.told
        assert all(row["sha256"] == found.rows[uri]["sha256"] for uri, row in other.rows.items())
        assert other.rows


def lines(path: Path, *named: str) -> str:
    path.write_text("".join(f"{line}\n" for line in named))
    return str(path)


def test_a_line_that_cannot_be_read_fails_alone(caption: Callable[..., Captioned], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    (tmp_path / "b::c.jpg").write_bytes(jpeg(2))
    hostile = [
        "htp://example.org/a.jpg",
        "blob:https://example.org/1",
        "zip://x.jpg::http://127.0.0.1:9/x.zip",
        "simplecache::http://127.0.0.1:9/a.jpg",
        "reference://::http://127.0.0.1:9/a.json",
        "ftp://127.0.0.1:9/a.jpg",
        "github://a:b@c/a.jpg",
        "file:///dev/zero",
        "/nowhere.jpg",
    ]
    named = lines(tmp_path / "list.txt", "a.jpg", "b::c.jpg", *hostile)
    found = caption("--manifest", named, "--max-bytes", "1000000")
    assert found.code == DONE, found.told
    assert {uri: row["sha256"] for uri, row in found.rows.items()} == {
        "a.jpg": digest(jpeg(1)),
        "b::c.jpg": digest(jpeg(2)),
    }
    failures = pq_rows(tmp_path / "output" / "failures")
    assert len(failures) == len(hostile)
    assert all("\n" not in row["message"] for row in failures)


def test_what_names_nothing_or_two_things_is_refused(caption: Callable[..., Captioned], tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(seed))
    (tmp_path / "empty").mkdir()
    (tmp_path / "same.csv").write_text("id,path\n7,1.jpg\n7,2.jpg\n")
    (tmp_path / "which.csv").write_text("bild,note\n1.jpg,red\n")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000 + "\n")
    for flags in (
        ["--manifest", str(tmp_path / "no-such-*.parquet")],
        ["--images", str(tmp_path / "no-such-*.jpg")],
        ["--images", str(tmp_path / "empty")],
        ["--manifest", str(tmp_path / "same.csv")],
        ["--manifest", str(tmp_path / "which.csv")],
    ):
        found = caption(*flags)
        assert found.code == REFUSED, (flags, found.told)
        assert not (tmp_path / "output").exists()
    assert caption("--manifest", str(tmp_path / "deep.jsonl")).code in (REFUSED, CHECK_FAILED)
    (tmp_path / "nan.jsonl").write_text('{"id": NaN, "path": "1.jpg"}\n{"id": NaN, "path": "2.jpg"}\n')
    (tmp_path / "semi.csv").write_text("path;note\n1.jpg;red, green\n2.jpg;\n")
    for name in ("nan.jsonl", "semi.csv"):
        found = caption("--manifest", str(tmp_path / name), output=f"of-{name}")
        assert (found.code, set(found.rows)) == (DONE, {"1.jpg", "2.jpg"}), found.told


def tar_of(path: Path, *members: tuple[str, bytes | str], **options: Any) -> str:
    """Members with bytes are files, with text symbolic links."""
    with tarfile.open(path, "w", **options) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return str(path)


def test_archives_that_lie(caption: Callable[..., Captioned], tmp_path: Path) -> None:
    """Links, repeated names, names that lead out, sizes that lie, archives that go on, and ends that are cut off."""
    members = [("a.jpg", jpeg(1)), ("b.jpg", "a.jpg"), ("c.jpg", jpeg(2)), ("c.jpg", jpeg(3)), ("d.jpg", "/etc/passwd")]
    tar_of(tmp_path / "links.tar", *members, ("../../../escaped/e.jpg", jpeg(4)))
    one, two = (Path(tar_of(tmp_path / f"{n}.part", (f"{n}.jpg", jpeg(n)))).read_bytes() for n in (5, 6))
    (tmp_path / "joined.tar").write_bytes(one + two)
    whole = Path(tar_of(tmp_path / "cut.part", ("x.jpg", jpeg(7)), ("y.jpg", jpeg(8) * 20))).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:4096])
    header = bytearray(whole[:512])
    header[124:136] = b"\xff" * 12  # minus one, in base 256
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    (tmp_path / "negative.tar").write_bytes(bytes(header) + whole[512:])
    (tmp_path / "zeros.tar.xz").write_bytes(b"no xz")
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../f.jpg", jpeg(9))
        archive.writestr("bomb.jpg", bytes(300_000_000))
        archive.writestr("g.jpg", jpeg(10))
    found = caption(
        "--images", *map(str, sorted([*tmp_path.glob("*.tar*"), tmp_path / "z.zip"])), "--max-bytes", "1000000"
    )
    assert found.code == DONE, found.told
    of = {row["sha256"] for row in found.rows.values()}
    assert {digest(jpeg(seed)) for seed in (1, 2, 4, 5, 6, 7, 9, 10)} <= of
    ids = {row["id"]: row["sha256"] for row in pq_rows(tmp_path / "output" / "captions")}
    assert {digest(jpeg(2)), digest(jpeg(3))} <= set(ids.values())
    assert of <= {digest(jpeg(seed)) for seed in range(1, 11)}
    assert sum(row["sha256"] == digest(jpeg(1)) for row in found.rows.values()) == 2
    assert any("bomb.jpg" in uri for uri in found.failures)
    assert any("negative.tar" in uri for uri in found.failures)
    assert not (tmp_path.parent / "escaped").exists()
    assert main(["verify", str(tmp_path / "output")]) == DONE
    side = tmp_path / "a" / "b" / "side"
    assert main(["export", str(tmp_path / "output"), "--to", "sidecar", "--output", str(side)]) == DONE
    assert len([path for path in side.rglob("*") if path.is_file()]) == len(ids)
    assert not list(tmp_path.rglob("escaped"))[1:]


def pq_rows(folder: Path) -> list[dict[str, Any]]:
    return ds.dataset(folder, format="parquet").to_table().to_pylist()


def test_tables_of_every_kind_of_image(caption: Callable[..., Captioned], tmp_path: Path) -> None:
    images = [jpeg(seed) for seed in range(3)]
    (tmp_path / "1.jpg").write_bytes(images[1])
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "binary": pa.array(images),
        "large": pa.array(images, pa.large_binary()),
        "view": pa.array(images, pa.binary_view()),
        "dictionary": pa.array(images).dictionary_encode(),
        "struct": pa.array([{"bytes": data, "path": None} for data in images], struct_type),
        "path": pa.array([{"bytes": None, "path": str(tmp_path / "1.jpg")}], struct_type),
    }
    for name, column in columns.items():
        table = pa.table({"image": column})
        with pa.ipc.new_file(str(tmp_path / f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table)
    pq.write_table(pa.table({"image": images, "note": [None] * 3}), tmp_path / "t.parquet")
    found = caption("--manifest", *map(str, [*sorted(tmp_path.glob("*.arrow")), tmp_path / "t.parquet"]))
    assert found.code == DONE, found.told
    assert {row["sha256"] for row in found.rows.values()} == set(map(digest, images))
    assert len(pq_rows(tmp_path / "output" / "captions")) == 19, found.told
