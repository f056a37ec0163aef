"""Writes photographs in every form that Hugging Face `datasets` has for them; run in an environment that has it."""

import json
import sys
from pathlib import Path

from datasets import Dataset, Features, Image, List, Value, load_dataset


def write(folder: Path, photographs: list[str]) -> dict[str, list[str]]:
    """Files by form, in the order of their rows."""
    forms = {}
    paths = Dataset.from_dict({"image": photographs, "label": list(range(len(photographs)))})
    images = paths.cast_column("image", Image())

    def parquet(name: str, dataset: Dataset) -> None:
        forms[name] = [str(folder / f"{name}.parquet")]
        dataset.to_parquet(forms[name][0])

    parquet("embedded", images)
    parquet("paths", paths)
    parquet("undecoded", images.cast_column("image", Image(decode=False)).map(lambda row: row))
    data = [{"bytes": Path(one).read_bytes(), "path": None} for one in photographs]
    parquet("bytes alone", Dataset.from_dict({"image": data}, Features({"image": Image()})))
    binary = {"image": [one["bytes"] for one in data]}
    parquet("large binary", Dataset.from_dict(binary, Features({"image": Value("large_binary")})))
    parquet(
        "list of one",
        Dataset.from_dict({"images": [[one] for one in photographs]}, Features({"images": List(Image())})),
    )
    nested = {"data": [{"image": one, "n": 1} for one in photographs]}
    parquet("nested", Dataset.from_dict(nested, Features({"data": {"image": Image(), "n": Value("int64")}})))

    # As push_to_hub names and cuts them.
    (folder / "hub").mkdir()
    forms["hub"] = [str(folder / "hub" / f"train-{number:05}-of-00002.parquet") for number in range(2)]
    for number, path in enumerate(forms["hub"]):
        images.shard(2, number, contiguous=True).to_parquet(path)

    for name, dataset in (("saved", images), ("saved paths", paths)):
        dataset.save_to_disk(folder / name, num_shards=2)
        forms[name] = sorted(map(str, (folder / name).glob("data-*.arrow")))

    cached = load_dataset("imagefolder", data_files=photographs, split="train", cache_dir=str(folder / "cache"))
    forms["cache"] = [one["filename"] for one in cached.cache_files]
    forms["to_json"] = [str(folder / "to_json.jsonl")]
    paths.to_json(forms["to_json"][0])
    forms["to_csv"] = [str(folder / "to_csv.csv")]
    paths.to_csv(forms["to_csv"][0])
    return forms


if __name__ == "__main__":
    print(json.dumps(write(Path(sys.argv[1]), sys.argv[2:])))
