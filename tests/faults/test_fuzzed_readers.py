"""Every reader of bytes from outside, in turn, on damaged files: documented errors alone, in bounded memory and time.

`BEAMSCRIBE_FUZZ_SECONDS=60` takes so long over all readers together; each reader's own test knows more of its format.
"""

import io
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from beamscribe.model.examples import DamagedRecordError, decode_file, encode_file
from beamscribe.model.image_formats import ImageError
from beamscribe.model.images import decode_image
from beamscribe.model.npz import ArraysError, read_arrays
from beamscribe.pipelines.commits.lease import Holder
from beamscribe.pipelines.sources.archives import kind_of, list_archive
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.members import read_reference
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.table_process import TableError, TableProcess
from beamscribe.pipelines.sources.text_tables import read_rows
from beamscribe.pipelines.speech.audio import check_audio, encode
from beamscribe.pipelines.speech.engine import SpeechError, Waveform
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas import caption_row
from beamscribe.schemas.coco import CocoError, parse_coco
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.stored import read_stored
from tests.faults.test_fuzzed_archives import make_tar, make_zip, with_checksums
from tests.memory import peak_bytes
from tests.model.test_decode_memory import mutated, seeds
from tests.pipelines.sources.made_tars import COMPRESS
from tests.pipelines.sources.test_table_fuzz import TEXTS, tables
from tests.schemas.test_stored import TABLE, parquet
from tests.training.conftest import make_example

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("BEAMSCRIBE_FUZZ_SECONDS", "6"))
LEAST = 5
"""Files of each reader, however little time there is."""
SLOWEST_SECONDS = 10
ADDRESS_BYTES = 6 << 30
"""Threads' stacks, libraries and their arenas are address space too; what grows with a lie in a header passes it."""
MOST_BYTES = 1_500_000_000


class Reader(NamedTuple):
    """A reader of outside bytes.

    Attributes:
        whole: sound files.
        read: reads one to its end; the folder is for readers of paths.
        documented: what it may raise.
    """

    whole: list[bytes]
    read: Callable[[bytes, Path], Any]
    documented: tuple[type[Exception], ...]


def read_archive(suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = folder / f"archive{suffix}"
        path.write_bytes(with_checksums(data) if suffix == ".tar" else data)
        kind = kind_of(str(path))
        assert kind
        for item in list_archive(f"file://{path}", kind, "", {}):
            if isinstance(item, WorkItem):
                try:
                    read_reference(item, {})
                except OSError:
                    continue  # the failure row of this member

    return read


def read_table(process: TableProcess, suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = folder / f"{random.getrandbits(64):x}{suffix}"
        path.write_bytes(data)
        try:
            list(process.rows(Where(str(path), "{}", False), Columns(), 1 << 20))
        finally:
            path.unlink()

    return read


def readers(process: TableProcess) -> Iterator[tuple[str, Reader]]:
    members = [(f"{number}.jpg", "file", bytes([number]) * 900, "") for number in range(4)]
    tar = make_tar(members, "pax")
    yield "image", Reader(seeds(), lambda data, _: decode_image(data, (8, 8), max_pixels=4_000_000), (ImageError,))
    for suffix, compress in COMPRESS.items():
        yield f"archive {suffix}", Reader([compress(tar)], read_archive(suffix), ())
    yield "archive .zip", Reader([make_zip(members, method) for method in (0, 8)], read_archive(".zip"), ())
    for suffix in (".parquet", ".arrow"):
        whole = [data for name, data in tables() if name.endswith(suffix)]
        yield f"table {suffix}", Reader(whole, read_table(process, suffix), (TableError,))
    for name, text in TEXTS.items():
        yield (
            f"text {name}",
            Reader(
                [text.encode(), text.encode("utf-16")],
                lambda data, _, name=name: list(read_rows(io.BytesIO(data), name, Columns())),
                (ValueError,),
            ),
        )
    coco = {
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": 4, "height": 3} for number in range(3)],
        "annotations": [{"id": number, "image_id": number, "caption": "A dog."} for number in range(3)],
    }
    yield "COCO", Reader([json.dumps(coco).encode()], lambda data, _: parse_coco(data), (CocoError,))
    records = encode_file([make_example(number) for number in range(3)])
    yield "features", Reader([records], lambda data, _: list(decode_file(data, "x")), (DamagedRecordError,))
    arrays = io.BytesIO()
    np.savez(arrays, kernel=np.ones((3, 4), np.float16), bias=np.zeros(5, np.float32))
    yield "weights", Reader([arrays.getvalue()], lambda data, _: read_arrays(data), (ArraysError,))
    rows = caption_row.SCHEMA, caption_row.VERSION
    yield "rows", Reader([parquet(TABLE)], lambda data, _: read_stored(data, "x", *rows), (ValueError,))
    tone = Waveform((np.sin(np.arange(22050) / 9) * 9000).astype(np.int16), 22050)
    clips = [encode(tone, format) for format in ("mp3", "ogg", "flac", "wav")]
    yield "audio", Reader(clips, lambda data, _: check_audio(data, "two dogs"), (SpeechError,))
    receipt = Receipt("0-a", "f", "2026-01-01T00:00:00+00:00", 1.0, None, None)
    yield "receipt", Reader([receipt.to_json()], lambda data, _: Receipt.from_json(data), (ValueError,))
    holder = Holder("host", 7, "token", "2026-01-01T00:00:00+00:00")
    yield (
        "lease",
        Reader([json.dumps(holder._asdict()).encode()], lambda data, _: Holder.from_json(data), (ValueError,)),
    )
    manifest = Manifest(
        "caption", Fingerprint({"a": 1}), ["0" * 16], {}, 3, 0, {}, 3, 1, "2026-01-01T00:00:00+00:00"
    ).to_json()
    yield "manifest", Reader([manifest.encode()], lambda data, _: Manifest.from_json(data, "x"), (ValueError,))


def fuzz(seconds: float, seed: int, results: Any) -> None:
    """In a process of its own: by reader, files tried, files read, the slowest in seconds, and what leaked."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    found: dict[str, tuple[int, int, float, list[str]]] = {}
    with TableProcess() as process, tempfile.TemporaryDirectory() as folder:
        each = list(readers(process))
        for name, reader in each:
            tried, read, slowest, leaked = 0, 0, 0.0, []
            for data in reader.whole:
                reader.read(data, Path(folder))  # raises nothing: it is sound
            end = time.monotonic() + seconds / len(each)
            while tried < LEAST or time.monotonic() < end:
                data = mutated(chance.choice(reader.whole), chance)
                begun = time.monotonic()
                try:
                    reader.read(data, Path(folder))
                    read += 1
                except reader.documented:
                    pass
                except BaseException:  # noqa: BLE001 (it is what is looked for)
                    leaked.append(f"{traceback.format_exc()[-600:]} of {data[:4000].hex()}")
                slowest = max(slowest, time.monotonic() - begun)
                tried += 1
            found[name] = tried, read, slowest, leaked
    results.put((found, peak_bytes()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_damaged_files_raise_documented_errors_in_bounded_memory() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=fuzz, args=(SECONDS, int(SECONDS), results), daemon=False)
    process.start()
    end = time.monotonic() + 10 * SECONDS + 240
    while results.empty() and process.is_alive() and time.monotonic() < end:
        time.sleep(0.05)
    found, peak = results.get(timeout=5)
    process.join(30)
    assert process.exitcode == 0
    print({name: one[:3] for name, one in found.items()}, f"{peak / 2**20:.0f} MiB")
    assert not [leak for one in found.values() for leak in one[3]]
    assert all(slowest < SLOWEST_SECONDS for _, _, slowest, _ in found.values()), found
    assert peak < MOST_BYTES
