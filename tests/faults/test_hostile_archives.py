"""One job over archives that lie in every way: what could be read is captioned, the rest is failure rows."""

import struct
import zipfile
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from beamscribe import main
from beamscribe.errors import DONE
from beamscribe.model.bundle import Bundle
from tests.pipelines.sources.made_tars import COMPRESS, END, header, member, pax

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

SPARSE = [("GNU.sparse.size", b"99999"), ("GNU.sparse.map", b"0,10,5,10")]


def tars(photo: bytes) -> dict[str, bytes]:
    good = member(b"good.jpg", photo)
    return {
        "negative.tar": good + header(b"n.jpg", b"\xff" * 11 + b"\0") + photo,
        "huge.tar": good + header(b"n.jpg", b"\x80\0\0\0\x40" + bytes(7)) + photo,
        "headers.tar": good + header(b"p", 2**40, b"x") + photo,
        "sparse.tar": good + pax(SPARSE) + member(b"sparse.jpg", bytes(20)) + END,
        "cut.tar": good + member(b"cut.jpg", photo)[:1024],
        "links.tar": good
        + header(b"link.jpg", 0, b"2", b"good.jpg")
        + header(b"out.jpg", 0, b"2", b"/etc/passwd")
        + END,
        "twice.tar": good + END + good + END,
        "zeros.tar.bz2": good + member(b"zeros.mp4", bytes(2**25)) + good + END,
        "garbage.tar.gz": good + END,
    }


def test_hostile_archives(
    made_images: Path,
    untrained_bundle: Bundle,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beamscribe.pipelines.sources.inflating.ALLOWANCE", 2**22)
    photo = min((made_images / "images").glob("*.jpg")).read_bytes()
    for name, data in tars(photo).items():
        suffix = name[name.index(".") :]
        (tmp_path / name).write_bytes(COMPRESS[suffix](data))
    with (tmp_path / "garbage.tar.gz").open("ab") as file:
        file.write(b"garbage")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", photo)
        archive.writestr("bomb.jpg", bytes(2**26))
    bomb = (tmp_path / "bomb.zip").read_bytes()
    at = bomb.rindex(b"PK\x01\x02") + 24
    (tmp_path / "bomb.zip").write_bytes(bomb[:at] + struct.pack("<L", 1000) + bomb[at + 4 :])
    output = tmp_path / "output"
    sources = [str(tmp_path / name) for name in [*tars(b""), "bomb.zip"]]
    model = untrained_bundle.path
    command = ["caption", "--images", *sources, "--model", model, "--output", str(output), "--max-length", "4"]
    assert main(command) == DONE
    rows = [
        row["id"].rpartition("/")[2] for row in ds.dataset(output / "captions").to_table(columns=["id"]).to_pylist()
    ]
    good = [f"{name}::good.jpg" for name in tars(b"") if name != "bomb.zip"]
    assert sorted(rows) == sorted([*good, "links.tar::link.jpg", "twice.tar::good.jpg#2", "bomb.zip::good.jpg"])
    failures = ds.dataset(output / "failures").to_table().to_pylist()
    told = {row["id"].rpartition("/")[2]: row["message"] for row in failures}
    reasons = {
        "negative.tar": "size that cannot be",
        "huge.tar": "the archive ends after",
        "huge.tar::n.jpg": "--max-bytes",
        "headers.tar": "more than 1048576",
        "sparse.tar::sparse.jpg": "sparse",
        "cut.tar": "the archive ends after",
        "cut.tar::cut.jpg": "the archive ends after",
        "zeros.tar.bz2": "100 times its size",
        "garbage.tar.gz": "something else follows",
        "bomb.zip::bomb.jpg": "more than the 1000 bytes",
    }
    assert told.keys() == reasons.keys()
    assert all(reason in told[name] for name, reason in reasons.items()), told
    assert main(["verify", str(output)]) == DONE
    assert "Traceback" not in "".join(capfd.readouterr())
