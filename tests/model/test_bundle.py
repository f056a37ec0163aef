"""The bundle: written, read back, damaged in every way a disk or a person can."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beamscribe.model.backbone.network import _local_copy
from beamscribe.model.backbone.spec import INCEPTION_V3, ResolvedWeights, WeightsError, resolve_weights
from beamscribe.model.bundle import (
    CONFIG,
    METRICS,
    MODEL_CARD,
    VERSION,
    VOCABULARY,
    WEIGHTS,
    Bundle,
    BundleError,
    backbone_file,
    copy_bundle,
    open_bundle,
    write_bundle,
)
from beamscribe.storage.storage import Storage
from tests.object_stores import ObjectStore

pytestmark = pytest.mark.slow

ARRAYS = {"decoder_0/dense_in/kernel": np.arange(6, dtype=np.float16).reshape(2, 3)}
BACKBONE = {"name": "inception_v3", "weights": "random", "digest": "random-0", "file": None}


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **ARRAYS)
    return buffer.getvalue()


FILES = {WEIGHTS: npz(), VOCABULARY: "[PAD]\nça\n##b\n".encode(), METRICS: b"{}", MODEL_CARD: b"# card"}


def write(path: Path, files: dict[str, bytes] = FILES, **config: Any) -> Bundle:
    return write_bundle(str(path), files, {"backbone": BACKBONE, **config})


def rewrite(bundle: Bundle, **changes: Any) -> None:
    """Changes fields of config.json; None takes one away."""
    config = {name: value for name, value in (bundle.config | changes).items() if value is not None}
    Path(bundle.path, CONFIG).write_text(json.dumps(config))


def test_a_bundle_comes_back(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "folder", captioner={"width": 32})
    bundle = open_bundle(written.path)
    assert bundle == written
    bundle.check()
    assert bundle.config["captioner"] == {"width": 32}
    assert bundle.config["schema_version"] == VERSION
    assert bundle.vocabulary() == ["[PAD]", "ça", "##b"]
    assert bundle.backbone == INCEPTION_V3
    assert bundle.backbone_weights == ResolvedWeights("random", "random-0")
    arrays = bundle.arrays()
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert sorted(os.listdir(bundle.path)) == sorted([*FILES, CONFIG])  # no temporary is left


def test_digests_are_those_of_the_stored_bytes(tmp_path: Path) -> None:
    bundle = write(tmp_path, {**FILES, VOCABULARY: b"abc"})
    assert bundle.vocabulary_digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert len(bundle.weights_digest) == 64
    assert set(bundle.config["files"]) == {WEIGHTS, VOCABULARY}  # a card may be edited


def test_equal_contents_give_equal_descriptions(tmp_path: Path) -> None:
    write(tmp_path / "a", note=1, captioner={"b": 1, "a": 2})
    write_bundle(
        str(tmp_path / "b"),
        dict(reversed(FILES.items())),
        {"captioner": {"a": 2, "b": 1}, "note": 1, "backbone": BACKBONE},
    )
    assert (tmp_path / "a" / CONFIG).read_bytes() == (tmp_path / "b" / CONFIG).read_bytes()


@pytest.mark.parametrize(
    ("weights", "name"),
    [("/data/x.weights.h5", "backbone.weights.h5"), ("/data/inception_notop.h5", "backbone.h5")],
)
def test_a_copy_of_the_backbone_is_used_in_place(tmp_path: Path, weights: str, name: str) -> None:
    assert backbone_file(weights) == name  # Keras goes by the suffix
    backbone = {**BACKBONE, "weights": weights, "digest": "d", "file": name}
    bundle = write(tmp_path, {**FILES, name: b"h5"}, backbone=backbone)
    assert bundle.backbone_weights == ResolvedWeights(f"{tmp_path}/{name}", "d")
    (tmp_path / name).write_bytes(b"h6")
    with pytest.raises(BundleError, match=f"{tmp_path}/{name} is not what config.json says"):
        bundle.check()


def test_a_folder_is_named_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("bundle", "./bundle/", "~/bundle"):
        assert open_bundle(name) == expected


@pytest.mark.parametrize("name", ["a[1]", "b*", "c d", "{e}", "é#?"])
def test_odd_letters_in_a_folders_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name).check()


def test_a_remote_bundle_is_fetched_once(tmp_path: Path, memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    local = write(tmp_path / "bundle")
    uri = copy_bundle(local, memory, "bundles")
    bundle = open_bundle(f"{uri}/")
    assert bundle.path.startswith(str(tmp_path))
    assert bundle.config == local.config
    bundle.check()
    memory.delete(f"{uri.removeprefix(memory.uri())[1:]}/{WEIGHTS}")
    assert open_bundle(uri) == bundle
    Path(bundle.path, WEIGHTS).write_bytes(b"cleared away by half")
    with pytest.raises(BundleError, match=f"{uri} cannot be fetched"):
        open_bundle(uri)


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1/w.h5", "simplecache::http://127.0.0.1/w.h5", "zip://w::http://h/w.zip", "ftp://h/w.h5"]
)
def test_what_files_name_is_not_asked_for(source: str, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    rewrite(bundle, backbone={"name": "inception_v3", "weights": source, "digest": "d", "file": None})
    with pytest.raises(BundleError, match="chain|protocol|--allow-http|outside its folder"):
        open_bundle(bundle.path)
    with pytest.raises(BundleError, match="cannot be opened: .*(chain|protocol|--allow-http)"):
        open_bundle(source, named_by_file=True)


def test_remote_weights_are_fetched_with_the_options_that_were_given(
    tmp_path: Path, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = s3.put("w.weights.h5", b"weights")
    resolved = resolve_weights(uri, INCEPTION_V3, s3.options)
    bundle = write(
        tmp_path / "b", backbone={"name": "inception_v3", "weights": uri, "digest": resolved.digest, "file": None}
    )
    for weights in (resolved, open_bundle(bundle.path, s3.options).backbone_weights):
        local = _local_copy(weights)
        assert Path(local).read_bytes() == b"weights"
        Path(local).write_bytes(b"another's")
        assert Path(_local_copy(weights)).read_bytes() == b"weights"
    s3.put("w.weights.h5", b"changed")
    Path(local).unlink()
    with pytest.raises(WeightsError, match="not as its description says"):
        _local_copy(resolved)
    with pytest.raises(WeightsError):
        resolve_weights(f"{s3.root}/gone.h5", INCEPTION_V3, s3.options)


def test_the_folder_of_fetched_files_belongs_to_this_user_alone(
    tmp_path: Path, memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = copy_bundle(write(tmp_path / "bundle"), memory, "bundles")
    cache = tmp_path / f"beamscribe-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="others can write to .*: set TMPDIR"):
        open_bundle(uri)
    cache.unlink()
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(BundleError, match="others can write to"):
        open_bundle(uri)
    assert list(cache.iterdir()) == list((tmp_path / "elsewhere").iterdir()) == []


def test_a_bundle_is_copied_once_and_named_by_what_it_holds(tmp_path: Path, memory: Storage) -> None:
    uri = copy_bundle(write(tmp_path / "one"), memory, "bundles")
    names = [entry.name for entry in memory.walk("bundles")]
    assert sorted(os.path.basename(name) for name in names) == sorted([CONFIG, WEIGHTS, VOCABULARY])
    assert copy_bundle(write(tmp_path / "two"), memory, "bundles") == uri
    assert copy_bundle(write(tmp_path / "three", {**FILES, VOCABULARY: b"abc"}), memory, "bundles") != uri


def test_a_copy_that_was_changed_is_refused(tmp_path: Path, memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = copy_bundle(write(tmp_path / "bundle", {**FILES, VOCABULARY: b"changed"}), memory, "bundles")
    memory.write(f"{uri.removeprefix(memory.uri())[1:]}/{VOCABULARY}", b"Changed")
    with pytest.raises(BundleError, match=f"{VOCABULARY} is not as its description says"):
        open_bundle(uri)


def test_a_description_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    rewrite(write(tmp_path), files={WEIGHTS: "0", VOCABULARY: "0", "../x": "0"})
    with pytest.raises(BundleError, match="names files outside its folder"):
        open_bundle(str(tmp_path))


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    bundle = write(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    read = bundle.vocabulary if name == VOCABULARY else bundle.arrays
    for action in (bundle.check, read):
        with pytest.raises(BundleError, match=f"{path} is not what config.json says: train or copy"):
            action()


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    bundle = write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=rf"{tmp_path} is not a bundle: {name} cannot be read \(FileNotFoundError\)"):
        bundle.check()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "config.json cannot be read"),
        ("", "is not a bundle's description"),
        ("{", "is not a bundle's description"),
        ("[]", "is not a bundle's description"),
        ("null", "is not a bundle's description"),
        ("{}", "schema_version"),
        ('{"schema_version": "1"}', "is not a bundle's description"),
        ('{"schema_version": 1}', "files"),
        ('{"schema_version": 1, "files": [], "backbone": {}}', "is not a bundle's description"),
        (b'{"schema_version": \xff}', "is not a bundle's description"),
    ],
)
def test_a_folder_that_is_no_bundle(tmp_path: Path, content: str | bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / CONFIG).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BundleError, match=f"{tmp_path}.*{reason}.*give a folder that beamscribe train wrote"):
        open_bundle(str(tmp_path))


@pytest.mark.parametrize("path", ["/no/such/folder", "memory://no-such-bundle", "nosuchprotocol://bundle"])
def test_a_folder_that_is_not_there(path: str) -> None:
    with pytest.raises(BundleError, match=f"{path} is not a bundle: config.json cannot be read"):
        open_bundle(path)


@pytest.mark.parametrize(
    "changes",
    [{"files": {WEIGHTS: "0"}}, {"files": {VOCABULARY: "0"}}, {"backbone": {"name": "inception_v3", "weights": "x"}}],
)
def test_an_incomplete_description(tmp_path: Path, changes: dict[str, Any]) -> None:
    rewrite(write(tmp_path), **changes)
    with pytest.raises(BundleError, match=f"{tmp_path}/{CONFIG} is incomplete: train the bundle again"):
        open_bundle(str(tmp_path))


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    rewrite(write(tmp_path), schema_version=VERSION + 1, files=None)  # whatever else changed
    with pytest.raises(BundleError, match=f"{tmp_path}/{CONFIG} has schema version 2.*upgrade Beamscribe"):
        open_bundle(str(tmp_path))


def test_an_unknown_backbone_is_named(tmp_path: Path) -> None:
    rewrite(write(tmp_path), backbone={**BACKBONE, "name": "resnet_9000"})
    with pytest.raises(BundleError, match=f"{tmp_path} needs the backbone resnet_9000, which this Beamscribe does not"):
        open_bundle(str(tmp_path))


@pytest.mark.parametrize("change", [WEIGHTS, VOCABULARY])
def test_an_interrupted_overwrite_is_no_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    write(tmp_path)
    replace = os.replace

    def stop_before_config(source: str, target: str) -> None:
        if target.endswith(CONFIG):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop_before_config)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {**FILES, change: b"another"})
    with pytest.raises(BundleError, match=change):
        open_bundle(str(tmp_path)).check()


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\x93NUMPY\x01\x00",
        b"",
        npz()[:-40],
    ],
)
def test_weights_that_are_no_archive(tmp_path: Path, data: bytes) -> None:
    bundle = write(tmp_path, {**FILES, WEIGHTS: data})
    with pytest.raises(BundleError, match=f"{tmp_path}/{WEIGHTS} is damaged"):
        bundle.arrays()


@pytest.mark.parametrize("letter", ["\x1c", "\x85", "\u2028"])
def test_a_token_is_a_whole_line(tmp_path: Path, letter: str) -> None:
    bundle = write(tmp_path, {**FILES, VOCABULARY: f"a{letter}b\nc\n".encode()})
    assert bundle.vocabulary() == [f"a{letter}b", "c"]
