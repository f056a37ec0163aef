"""An output of caption as later commands read it: its committed rows, file by file."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from beamscribe.errors import RefusedError
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.manifest_file import manifest_of
from beamscribe.pipelines.runtime.chosen_captioner import CAPTIONS
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.matching import ids_of_output
from beamscribe.storage.storage import Storage


class Captions(NamedTuple):
    """An output of beamscribe caption.

    Attributes:
        output: its folder.
        manifest: what it is.
    """

    output: Storage
    manifest: Manifest

    @property
    def ids(self) -> str:
        """Where the ids of the rows came from, see `beamscribe.schemas.matching`."""
        return ids_of_output(self.manifest.details, self.output.read)

    def files(self, least: float = 0.0) -> Iterator[list[dict[str, Any]]]:
        """The rows of each committed file.

        Args:
            least: confidence below which rows are left out; rows without one stay.

        Raises:
            ValueError: if a file is damaged.
            OSError: if one cannot be read.
        """
        for receipt in Ledger(self.output, CAPTIONS).receipts():
            if receipt.rows and receipt.fingerprint in self.manifest.kept_fingerprints:
                name = receipt.rows.name
                rows = CAPTIONS.read(self.output.read(name), self.output.uri(name)).to_pylist()
                yield (
                    [row for row in rows if row["confidence"] is None or row["confidence"] >= least] if least else rows
                )


def open_captions(path: str, options: dict[str, Any]) -> Captions:
    """Opens an output of beamscribe caption.

    Raises:
        RefusedError: if it is none.
    """
    output = Storage(path, options)
    manifest = manifest_of(output)
    if manifest.job != "caption":
        raise RefusedError(f"{path} holds the output of {manifest.job}: give an output of beamscribe caption")
    return Captions(output, manifest)
