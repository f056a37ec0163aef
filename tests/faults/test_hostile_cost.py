"""Files of some kilobytes that ask for gigabytes or minutes: what captioning them costs beyond the model is bounded."""

import bz2
import io
import os
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beamscribe.command_line import main
from beamscribe.errors import CHECK_FAILED, DONE
from beamscribe.model.bundle import Bundle
from tests.memory import peak_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly,
    pytest.mark.usefixtures("one_captioner"),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc"),
]

SECONDS = 30
MEMORY_BYTES = 1_500_000_000
LOOK_SECONDS = 0.02


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (36, 48, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def write_tables(folder: Path) -> None:
    """Pages of 2 GB, offsets that lead out of the file, and lists so deep that they end a process which recurses."""
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), [b"x" * 1_000_000])
    pq.write_table(pa.table({"image": repeated}), folder / "pages.parquet", compression="zstd")
    table = pa.table({"image": [jpeg(1), jpeg(2)]})
    with pa.ipc.new_file(str(folder / "sound.arrow"), table.schema) as writer:
        writer.write_table(table)
    sound = (folder / "sound.arrow").read_bytes()
    ends = np.array([0, len(jpeg(1)), len(jpeg(1)) + len(jpeg(2))], np.int32)
    assert ends.tobytes() in sound
    for name, wrong in (("negative", [0, -5, int(ends[2])]), ("beyond", [0, 2**30, 2**30])):
        (folder / f"{name}.arrow").write_bytes(sound.replace(ends.tobytes(), np.array(wrong, np.int32).tobytes()))
    (folder / "deep.jsonl").write_text('{"url": "a.jpg"}\n{"url": ' + "[" * 200_000 + "]" * 200_000 + "}\n")


def write_archives(folder: Path) -> None:
    """Sizes that cannot be, headers of gigabytes, and members of gigabytes that compress to nothing."""
    huge, pax = tarfile.TarInfo("x.jpg"), tarfile.TarInfo("pax")
    huge.size, pax.size, pax.type = 2**62, 6_000_000_000, tarfile.XHDTYPE
    (folder / "huge.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + jpeg(3))
    (folder / "pax.tar").write_bytes(pax.tobuf(tarfile.GNU_FORMAT) + b"1" * 512)
    zeros = tarfile.TarInfo("zeros.jpg")
    zeros.size = 30 << 26
    (folder / "zeros.tar.bz2").write_bytes(
        bz2.compress(zeros.tobuf(tarfile.GNU_FORMAT)) + bz2.compress(bytes(1 << 26)) * 30
    )
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", jpeg(4))
        with archive.open("bomb.jpg", "w", force_zip64=True) as member:
            for _ in range(16):
                member.write(bytes(1 << 26))


def write_images(folder: Path) -> None:
    """Devices, a pipe that nobody writes, and pixels that are declared and not there."""
    (folder / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    tags = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, 60_000), (279, 4, 100), (339, 3, 3)]
    entries = b"".join(struct.pack("<HHII", *tag[:2], 1, tag[2]) for tag in tags)
    (folder / "float.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    with Image.new("RGB", (9_000, 9_000)) as image:
        image.save(folder / "large.png", compress_level=1)
    (folder / "good.jpg").write_bytes(jpeg(5))


@contextmanager
def children_watched(peaks: dict[int, int]) -> Iterator[None]:
    """Notes the peak of each process that this one starts; until it runs its own program it has this one's memory."""
    over = threading.Event()
    own = Path("/proc/self/cmdline").read_bytes()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for child in psutil.Process().children(recursive=True):
                try:
                    if Path(f"/proc/{child.pid}/cmdline").read_bytes() != own:
                        peaks[child.pid] = max(peaks.get(child.pid, 0), peak_bytes(child.pid))
                except (OSError, StopIteration):
                    continue  # it has ended

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def test_hostile_files_cost_little_beyond_the_model(
    tmp_path: Path, untrained_bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    def caption(name: str, *sources: str) -> int:
        flags = ["--model", untrained_bundle.path, "--output", str(tmp_path / name), "--max-length", "4"]
        return main(["caption", *sources, *flags])

    def ids(name: str, folder: str) -> set[str]:
        found = ds.dataset(tmp_path / name / folder).to_table(columns=["id"]).to_pylist()
        return {row["id"].rpartition("/")[2] for row in found}

    kinds = {"images": write_images, "archives": write_archives, "tables": write_tables}
    for kind, write in kinds.items():
        (tmp_path / f"from-{kind}").mkdir()
        write(tmp_path / f"from-{kind}")
    good = tmp_path / "a.jpg"
    good.write_bytes(jpeg(6))
    begun = time.monotonic()
    assert caption("model", "--images", str(good)) == DONE
    model_seconds = time.monotonic() - begun
    for kind in kinds:
        files = sorted(str(path) for path in (tmp_path / f"from-{kind}").iterdir() if path.name != "sound.arrow")
        Path("/proc/self/clear_refs").write_text("5")
        before, begun, children = peak_bytes(), time.monotonic(), {0: 0}
        with children_watched(children):
            # A folder's devices and pipes are told; named alone they are refused.
            sources = [str(tmp_path / "from-images")] if kind == "images" else files
            code = caption(kind, "--manifest" if kind == "tables" else "--images", *sources)
        assert time.monotonic() - begun < SECONDS + model_seconds, kind
        assert peak_bytes() - before + max(children.values()) < MEMORY_BYTES, kind
        assert code == (CHECK_FAILED if kind == "tables" else DONE), kind
        assert main(["verify", str(tmp_path / kind)]) == DONE
    assert ids("images", "captions") == {"good.jpg", "large.png"}
    assert ids("images", "failures") >= {"float.tif"}
    assert ids("archives", "captions") == {"bomb.zip::good.jpg"}
    failed = {id.partition("::")[0] for id in ids("archives", "failures")}
    assert failed == {"huge.tar", "pax.tar", "zeros.tar.bz2", "bomb.zip"}
    failed = {id.partition("::")[0] for id in ids("tables", "failures")}
    assert failed == {"pages.parquet", "negative.arrow", "beyond.arrow", "deep.jsonl", "a.jpg"}
    assert "Traceback" not in "".join(capfd.readouterr())
