"""The same files in every kind of container."""

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KINDS = ("plain.tar", "small.tar.gz", "small.tgz", "small.tar.bz2", "small.tar.xz", "stored.zip", "deflated.zip")


def write_archive(path: Path, files: dict[str, bytes]) -> str:
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        how = zipfile.ZIP_DEFLATED if "deflated" in path.name else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return str(path)
    mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def write_webdataset(path: Path, files: dict[str, bytes]) -> str:
    """A tar of samples: files that share a stem, an image beside its text."""
    samples = {}
    for name, data in files.items():
        samples[name] = data
        samples[f"{name.rsplit('.', 1)[0]}.txt"] = b"a caption"
    return write_archive(path, samples)


def image_table(files: dict[str, bytes], ids: bool = False) -> pa.Table:
    """Rows as Hugging Face `datasets` writes them: `struct<bytes, path>`."""
    images = [{"bytes": data, "path": name} for name, data in files.items()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array(range(len(files)))}
    if ids:
        columns["id"] = pa.array([f"id-{name}" for name in files])
    return pa.table(columns)


def write_image_parquet(path: Path, files: dict[str, bytes], row_group_size: int = 3) -> str:
    """Such rows as Parquet."""
    pq.write_table(image_table(files), path, row_group_size=row_group_size)
    return str(path)


def write_arrow(path: Path, table: pa.Table, stream: bool) -> str:
    """A table as an Arrow stream or file."""
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return str(path)
