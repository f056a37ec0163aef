"""Outputs of featurize as a corpus: TFRecords are containers, read once in order."""

from collections.abc import Iterator
from typing import Any

from beamscribe.errors import RefusedError
from beamscribe.model.feature_records import FeatureRecords
from beamscribe.pipelines.sources.corpus import Corpus, distinct
from beamscribe.pipelines.work.work_item import WorkItem
from beamscribe.schemas.feature_example import FeatureExample
from beamscribe.storage.output_reader import OutputReader, read_manifest_of
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import read_uri


def list_features(
    outputs: list[str], backbone: str, weights_digest: str, options: dict[str, Any], limit: int | None
) -> Corpus:
    """Work items of stored features, told from the receipts; features are read only where a receipt is lost.

    Args:
        outputs: folders that featurize wrote.
        backbone: that the captioner needs.
        weights_digest: of the backbone's weights that the captioner needs.
        options: for storage.
        limit: references at most.

    Raises:
        RefusedError: if an output is none, is empty, cannot be read or has features of another backbone.
    """
    references = _references(outputs, backbone, weights_digest, options)
    remedy = (
        "caption one of these outputs at a time, each into an --output of its own; "
        "beamscribe verify says whether one output holds an id twice"
    )
    found = distinct(references, limit, f"--features {' '.join(outputs)}", remedy)
    if not found.references:
        raise RefusedError(f"--features {' '.join(outputs)} holds no features: run beamscribe featurize to its end")
    return found


def _references(outputs: list[str], backbone: str, weights_digest: str, options: dict[str, Any]) -> Iterator[WorkItem]:
    for path in outputs:
        output = Storage(path, options)
        manifest = read_manifest_of(output)
        if manifest is None or manifest.job != "featurize":
            raise RefusedError(f"--features {path} is not an output of beamscribe featurize: run that first")
        theirs = [str(manifest.details.get(name, "unknown")) for name in ("backbone", "weights_digest")]
        if theirs != [backbone, weights_digest]:
            raise RefusedError(
                f"--features {path} holds features of {theirs[0]} with weights {theirs[1][:12]}…, "
                f"the bundle needs {backbone} with {weights_digest[:12]}…"
            )
        try:
            receipts = OutputReader(output, manifest, FeatureRecords()).receipts()
        except (OSError, ValueError) as error:
            raise RefusedError(f"--features {path} cannot be read: {error}") from error
        for stamp in (receipt.rows for receipt in receipts):
            if stamp:
                uri = output.uri(stamp.name)
                yield from (WorkItem(id, f"{uri}::{id}", container=uri) for id in stamp.ids)


def read_until_damage(
    uri: str, options: dict[str, Any], damage: list[OSError | ValueError]
) -> Iterator[FeatureExample]:
    """The examples of one file, in order; what ends them before the file's end is put into `damage`."""
    from beamscribe.model.examples import decode_file  # TensorFlow, only where there is work to do.

    try:
        yield from decode_file(read_uri(uri, options), uri)
    except (OSError, ValueError) as error:
        damage.append(error)
