"""Whether a command may go on with an output, told from its manifest."""

from beamscribe.errors import RefusedError
from beamscribe.pipelines.commits.pending import Job
from beamscribe.schemas import sample_tar
from beamscribe.schemas.fingerprint import Fingerprint
from beamscribe.schemas.manifest import Manifest
from beamscribe.schemas.matching import ids_after, ids_of_output
from beamscribe.schemas.rows import tarred_rows
from beamscribe.storage.output_reader import MANIFEST, read_manifest_of
from beamscribe.storage.storage import Storage


def is_resumed(output: Storage, fingerprint: Fingerprint) -> bool:
    """Whether an earlier run was launched with the same settings, so that they need not be tried out again."""
    manifest = read_manifest_of(output)
    return manifest is not None and manifest.fingerprint.same_rows(fingerprint)


def ids_to_record(output: Storage, asked: str) -> str:
    """Where the ids of an output's rows will have come from after a further run.

    Args:
        output: of caption.
        asked: where those of the run come from, see `beamscribe.schemas.matching`.
    """
    earlier = read_manifest_of(output)
    return ids_after(ids_of_output(earlier.details, output.read) if earlier else None, asked)


def kept_fingerprints(
    output: Storage, earlier: Manifest | None, job: Job, fingerprint: Fingerprint, on_change: str
) -> list[str]:
    """Digests under which rows count as done.

    Args:
        output: of the job.
        earlier: its manifest, if it has one.
        job: that is asked for.
        fingerprint: under which new rows would be made.
        on_change: what to do where `earlier` has another: refuse, keep or replace.

    Raises:
        RefusedError: if the output was made by another job, or with other settings and no `--on-change` says what then.
    """
    new = fingerprint.digest
    if earlier is None:
        foreign = output.files(job.format.folder)
        if tarred_rows(job.format):
            foreign += output.files(sample_tar.FOLDER)
        if foreign:
            raise RefusedError(
                f"{output.uri()} holds {foreign[0].name} but no {MANIFEST}, so Beamscribe did not write it: "
                "choose another --output"
            )
        return [new]
    if earlier.job != job.name:
        raise RefusedError(f"{output.uri()} holds the output of {earlier.job}: choose another --output")
    # A fingerprint that lacks fields of this one has another digest: its rows are kept beside the new ones.
    if earlier.fingerprint.same_rows(fingerprint) or on_change == "keep":
        return [*(digest for digest in earlier.kept_fingerprints if digest != new), new]
    if on_change == "replace":
        return [new]
    changes = "\n  ".join(earlier.fingerprint.differences(fingerprint))
    raise RefusedError(
        f"{output.uri()} was made with other settings:\n  {changes}\n"
        "Choose another --output, or --on-change keep (old rows stay, new images are done with the new settings) "
        "or --on-change replace (old rows are done again)"
    )
