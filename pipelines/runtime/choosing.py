"""Engine and precision of a job, resolved once for all its workers."""

from collections.abc import Callable

from beamscribe.errors import RefusedError
from beamscribe.model.backbone.choice import AUTO, TENSORFLOW, Choice, ChoiceError, choose
from beamscribe.pipelines.runtime.keeping import FIELD as COLUMNS
from beamscribe.pipelines.runtime.layouts import FIELD as LAYOUT
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.storage.output_reader import read_manifest_of
from beamscribe.storage.storage import Storage


def choose_for(
    output: Storage, engine: str, precision: str, quantized: bool, fingerprint_with: Callable[[Choice], Fingerprint]
) -> Choice:
    """What an output was begun with, where that is what is asked for; else as `model.backbone.choice.choose`.

    Args:
        output: of the job.
        engine: as asked for.
        precision: as asked for.
        quantized: whether there is an int8 backbone.
        fingerprint_with: the job's fingerprint with a choice.

    Raises:
        RefusedError: if it cannot be had.
    """
    earlier = read_manifest_of(output)
    if earlier is not None and "precision" in earlier.fingerprint.fields:
        # A captioner has no part in what is kept beside its captions.
        fields = {name: value for name, value in earlier.fingerprint.fields.items() if name not in (COLUMNS, LAYOUT)}
        # Features from before there was another engine do not name it.
        begun = Choice(str(fields.get("engine", TENSORFLOW)), str(fields["precision"]))
        fits = all(wanted in (AUTO, was) for wanted, was in zip((engine, precision), begun, strict=True))
        if fits and fingerprint_with(begun).same_rows(Fingerprint(fields)):
            return begun
    try:
        return choose(engine, precision, quantized)
    except ChoiceError as error:
        raise RefusedError(str(error)) from error
