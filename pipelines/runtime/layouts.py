"""`--layout`: what a caption job writes beside its rows."""

import argparse
import dataclasses

from beamscribe.errors import RefusedError
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.rows import with_tars

FIELD = "layout"
"""Of the fingerprint; outputs with rows alone do not have it."""

PARQUET, WEBDATASET = "parquet", "webdataset"


def refuse_layout(args: argparse.Namespace) -> None:
    """Refuses to write images where none are read.

    Raises:
        RefusedError: then.
    """
    if args.layout == WEBDATASET and args.features:
        raise RefusedError(
            "--layout webdataset: with --features no photographs are read that could be written: give --images or "
            "--manifest, or leave --layout out"
        )


def with_layout(chosen: ChosenCaptioner, layout: str) -> ChosenCaptioner:
    """A captioner whose rows are stored in a layout."""
    if layout == PARQUET:
        return chosen
    fingerprint = Fingerprint({**chosen.fingerprint.fields, FIELD: layout})
    return dataclasses.replace(chosen, fingerprint=fingerprint, format=with_tars(chosen.format))
