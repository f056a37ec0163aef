"""`OUTPUT/_beamscribe/manifest.json`: what the output is and what was asked of it last."""

import dataclasses
import datetime
import json
from dataclasses import dataclass
from typing import Any

from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.shapes import check_shape
from beamscribe.schemas.table import NewerSchemaError, check_version

FOLDER = "_beamscribe"
FILE = "manifest.json"
VERSION = 2
"""Version 1 counted what was skipped without reasons: files that are no images by their suffix."""

_UNCOUNTED = "no image suffix"


class ManifestError(ValueError):
    """The file is not a manifest."""


@dataclass(frozen=True)
class Manifest:
    """What an output is and what the latest run was asked to do.

    Attributes:
        job: "featurize", "caption" or "speak".
        fingerprint: what can change a row of this output.
        kept_fingerprints: digests under which rows count as done, this fingerprint's among them.
        details: settings that later commands read back, such as the bundle or the backbone.
        references: distinct ids in the latest run's corpus.
        repeated: references beyond the first of their id.
        skipped: what the sources of the corpus name and the run left out, counted by reason.
        listed: everything that they name: references + repeated + skipped.
        shards: number that loose references were hashed into.
        run_started: ISO 8601, UTC, of the latest run.
        schema_version: of this file.
    """

    job: str
    fingerprint: Fingerprint
    kept_fingerprints: list[str]
    details: dict[str, Any]
    references: int
    repeated: int
    skipped: dict[str, int]
    listed: int
    shards: int
    run_started: str
    schema_version: int = VERSION

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, what: str) -> "Manifest":
        """Reads a manifest back.

        Args:
            text: JSON.
            what: the file, named for people.

        Raises:
            ManifestError: if it is not a manifest.
            NewerSchemaError: if a newer Beamscribe wrote it.
        """
        try:
            fields = json.loads(text)
            check_version(what, fields["schema_version"], VERSION)
            fingerprint = Fingerprint(fields.pop("fingerprint")["fields"])
            if fields["schema_version"] == 1:
                skipped = fields["skipped"]
                fields["listed"] = fields["references"] + fields["repeated"] + skipped
                fields |= {"skipped": {_UNCOUNTED: skipped} if skipped else {}, "schema_version": VERSION}
            fields["skipped"] = {reason: count + 0 for reason, count in fields["skipped"].items()}
            found = cls(fingerprint=fingerprint, **fields)
            check_shape(found, cls)
            if datetime.datetime.fromisoformat(found.run_started).tzinfo is None:
                raise TypeError("run_started has no time zone")
            return found
        except NewerSchemaError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ManifestError(
                f"{what} is not a Beamscribe manifest: {type(error).__name__}: {error}: put that file back as it was, "
                "or begin another output"
            ) from error
