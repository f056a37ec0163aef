"""Prints what the demo made, with pyarrow alone."""

import sys
from pathlib import Path

import pyarrow.dataset as ds

output = Path(sys.argv[1])
index = {row["id"]: row for row in ds.dataset(output / "speech" / "index").to_table().to_pylist()}
for row in sorted(
    ds.dataset(output / "captions" / "captions").to_table().to_pylist(), key=lambda row: row["image_uri"]
):
    spoken = index[row["id"]]
    sure = row["score"] if row["confidence"] is None else row["confidence"]
    print(f"{row['image_uri'].rsplit('/', 1)[-1]:>14}  {sure:6.2f}  {row['caption']}")
    print(f"{'':>14}  {spoken['duration_seconds']:5.1f}s  {output / 'speech' / spoken['audio_uri']}")
print(f"""
report    {(output / "report.html").resolve().as_uri()}
captions  {output}/captions/captions/*.parquet
index     {output}/speech/index/*.parquet
audio     {output}/speech/audio/""")
