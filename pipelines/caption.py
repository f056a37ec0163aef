"""`beamscribe caption`: photographs, or features of them, to captions in Parquet."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from beamscribe.errors import RefusedError
from beamscribe.pipelines.captioners.process import CaptionProcess, is_stored
from beamscribe.pipelines.captioners.source import CaptionerSource, PaidSource, Statement
from beamscribe.pipelines.commits.manifest_file import ids_to_record, is_resumed
from beamscribe.pipelines.images.hashing import grouped_by_content
from beamscribe.pipelines.images.quality import ALARM_PERCENT, sameness
from beamscribe.pipelines.images.reading import Reading
from beamscribe.pipelines.images.sample_columns import SampleColumns
from beamscribe.pipelines.images.samples import closing_lines, read_samples
from beamscribe.pipelines.runtime import options
from beamscribe.pipelines.runtime.caption_corpus import at_once, columns_asked, corpus_of, tables_of
from beamscribe.pipelines.runtime.captioner_choice import chosen_captioner
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner
from beamscribe.pipelines.runtime.dry_run import dry_run
from beamscribe.pipelines.runtime.flags import jobs
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.pipelines.runtime.keeping import keep_columns, kept_warnings, refuse_columns
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.layouts import refuse_layout, with_layout
from beamscribe.pipelines.runtime.parts import PartedJob
from beamscribe.pipelines.runtime.request import Request
from beamscribe.pipelines.runtime.runners import is_dry, template_of
from beamscribe.pipelines.runtime.running import share_cores
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.listing import is_plain
from beamscribe.pipelines.sources.manifest_parts import MOST_LISTED, columns_of, divided
from beamscribe.pipelines.sources.manifests import ManifestFiles, manifest_files, read_pieces
from beamscribe.pipelines.sources.queries import strip_queries
from beamscribe.pipelines.work.run import Process, Run
from beamscribe.schemas.counted import counted
from beamscribe.schemas.kept_columns import kept_of
from beamscribe.schemas.matching import ANNOTATIONS, IDS, MANIFEST, URIS, ids_of_output
from beamscribe.schemas.output_parts import OutputPart
from beamscribe.schemas.printable import printable
from beamscribe.schemas.receipt import Receipt
from beamscribe.schemas.rows import CAPTIONS, ParquetRows
from beamscribe.storage.output_reader import manifest_of, read_manifest_of, read_parts
from beamscribe.storage.storage import Storage


@dataclass(frozen=True)
class CaptionJob:
    """Pixels or features to captions, whatever writes them.

    Attributes:
        captioner: how to load what writes the captions.
        reading: how to read images.
        alarm_percent: share of different images that may get the same caption.
        columns: what is kept of what stands beside images in archives.
    """

    captioner: CaptionerSource
    reading: Reading
    alarm_percent: float = ALARM_PERCENT
    name: str = "caption"
    shards_at_once: int = 2
    format: ParquetRows = dataclasses.field(default_factory=lambda: CAPTIONS)
    columns: SampleColumns | None = None

    @property
    def batch_size(self) -> int:
        """Images that a call takes."""
        return self.captioner.batch_size

    @property
    def is_paid(self) -> bool:
        """Whether the captioner costs money."""
        return isinstance(self.captioner, PaidSource)

    def stage_artifacts(self, output: Storage) -> "CaptionJob":
        """With a copy of what the captioner needs."""
        return dataclasses.replace(self, captioner=self.captioner.stage_artifacts(output))

    def open(self, run: Run) -> Process:
        """Loads the captioner."""
        return CaptionProcess(self.captioner, self.reading, run, self.columns)

    def warnings(self, output: Storage, receipts: Sequence[Receipt]) -> list[str]:
        """Whether one caption is said of too many images, and what the captioner has to say."""
        found = sameness(_captions(output, receipts), self.alarm_percent)
        kept = kept_warnings(self._kept(output, receipts), self.format.schema) if self.has_kept else []
        return [*([found] if found else []), *kept, *self.statement(output, "").warnings]

    @property
    def has_kept(self) -> bool:
        """Whether columns of the source are kept."""
        return bool(kept_of(self.format.schema).names)

    def _kept(self, output: Storage, receipts: Sequence[Receipt]) -> Iterator[pa.Table]:
        """Repairs and kept columns of all rows."""
        names = [receipt.rows.name for receipt in receipts if receipt.rows]
        columns = ["repairs", *kept_of(self.format.schema).names]
        for name, data in zip(names, output.read_each(names), strict=True):
            yield self.format.read(data, name, columns)

    def tidy(self, output: Storage) -> None:
        """Everything is in the rows."""

    def statement(self, output: Storage, run_started: str) -> Statement:
        """What was spent on the output, where the captioner costs money."""
        return self.captioner.statement(output, run_started) if isinstance(self.captioner, PaidSource) else Statement()

    def forecast(self, output: Storage, todo: int) -> list[str] | None:
        """What the rest will cost; None where nothing costs money."""
        return self.captioner.forecast(output, todo) if isinstance(self.captioner, PaidSource) else None


def _captions(output: Storage, receipts: Sequence[Receipt]) -> Iterator[tuple[str, str]]:
    """Digests and captions of all images."""
    names = [receipt.rows.name for receipt in receipts if receipt.rows]
    for name, data in zip(names, output.read_each(names), strict=True):
        table = CAPTIONS.read(data, name, ["sha256", "caption"])
        yield from zip(table["sha256"].to_pylist(), table["caption"].to_pylist(), strict=True)


def run(argv: Sequence[str]) -> int:
    """Parses, builds, runs.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args, beam_options = options.parse(parser(), argv)
    refuse_columns(args)
    refuse_layout(args)
    share_cores(beam_options)
    flags = jobs.job_flags(args)
    if is_dry(beam_options):
        return dry_run(_job(args, _chosen(args, None)), args.output, beam_options)
    output = options.output_of(args, filter(is_plain, args.images or ()))
    found = manifest_files(args.manifest, flags.storage_options) if args.manifest and not at_once(args, flags) else None
    tables = tables_of(args, flags, output, found)
    if tables is None and (job := _parted(args, flags, beam_options, output, found)):
        return job.plan() if flags.plan else job.launch()
    chosen = _chosen(args, output)
    options.refuse_web(args.images or (), args)
    corpus = corpus_of(args, chosen, flags) if tables is None else tables
    return launch(_request(args, flags, beam_options, output, chosen, corpus))


def _chosen(args: argparse.Namespace, output: Storage | None) -> ChosenCaptioner:
    return with_layout(chosen_captioner(args, output), args.layout)


def _request(
    args: argparse.Namespace,
    flags: jobs.JobFlags,
    beam_options: PipelineOptions,
    output: Storage,
    chosen: ChosenCaptioner,
    corpus: Corpus,
) -> Request:
    """What is asked of the launcher, for one output."""
    options.refuse_web((reference.uri for reference in corpus.references if not is_stored(reference)), args)
    if args.strip_query:
        corpus = strip_queries(corpus)
    if args.deduplicate:
        corpus = grouped_by_content(corpus, options.reading(args))
    chosen = keep_columns(chosen, corpus, output, flags.on_change, args.keep_columns or ())
    if not is_resumed(output, chosen.fingerprint):
        chosen.check()
    return Request(
        job=_job(args, chosen),
        corpus=corpus,
        output=output,
        fingerprint=chosen.fingerprint,
        details={IDS: ids_to_record(output, _ids_of(args)), **chosen.details},
        flags=flags,
        options=beam_options,
        strict=args.strict,
        closing=lambda: _closing(output, args.output, args.report is not None),
    )


def _parted(
    args: argparse.Namespace,
    flags: jobs.JobFlags,
    beam_options: PipelineOptions,
    output: Storage,
    found: ManifestFiles | None,
) -> PartedJob | None:
    """The job on a corpus that is too large to be listed at once; None where it is not.

    Raises:
        RefusedError: if a flag needs all images at once, or a manifest cannot be read.
    """
    earlier = read_parts(output)
    given = at_once(args, flags) or ("" if args.manifest else "--images")
    if given or found is None:
        if earlier:
            raise RefusedError(
                f"{given}: {output.uri()} is in {counted(len(earlier), 'part')}, which --manifest alone goes on with: "
                "leave the flag out, or choose another --output"
            )
        return None
    parts = divided(found.files, flags.storage_options, earlier)
    if not parts:
        return None
    if not earlier and read_manifest_of(output):
        rows = sum(part.rows for part in parts)
        told = f"{output.uri()} was begun as a whole, so all {rows:,} rows are listed at once, in memory"
        print(printable(f"beamscribe caption: {told}; another --output does them in parts"), file=sys.stderr)
        return None
    for flag, value in (("--report", args.report is not None), ("--template_location", template_of(beam_options))):
        if value:
            raise RefusedError(
                f"{flag}: a manifest of more than {MOST_LISTED:,} rows is captioned part by part: leave the flag out, "
                "or give manifests with fewer rows, each with an --output of its own"
            )
    columns, keeps = columns_asked(args), args.keep_columns or ()
    tables = columns_of(found.files, columns, flags.storage_options, [keep.source for keep in keeps])
    # What is chosen for the first part, such as a precision, is that of all.
    chosen = _chosen(args, output.below(parts[0].name))

    def request(part: OutputPart, most: int | None) -> Request:
        corpus = read_pieces(part.wanted, columns, flags.storage_options, keeps, tables, most)
        made = _request(args, flags, beam_options, output.below(part.name), chosen, corpus)
        return dataclasses.replace(made, closing=tuple)

    settings = {
        "captioner": chosen.fingerprint.fields,
        "columns": columns,
        "keep": keeps,
        "strip_query": args.strip_query,
    }
    return PartedJob("caption", output, parts, earlier, chosen.format, settings, request, flags, found.skipped)


def _closing(output: Storage, typed: str, has_page: bool) -> list[str]:
    """Some of the captions, and what to do next; nothing where they cannot be read, since the work is done."""
    try:
        return closing_lines(read_samples(output, CAPTIONS), typed, has_page)
    except (OSError, ValueError):
        return []


def _job(args: argparse.Namespace, chosen: ChosenCaptioner) -> CaptionJob:
    reading = options.reading(args)._replace(keep_files=chosen.format.tarred)
    return CaptionJob(chosen.source, reading, args.alarm_share, format=chosen.format, columns=chosen.columns)


def _ids_of(args: argparse.Namespace) -> str:
    """Where the ids of this run's rows come from."""
    if args.retake:
        earlier = Storage(args.retake, args.storage_options)
        return ids_of_output(manifest_of(earlier).details, earlier.read)
    return ANNOTATIONS if args.features else URIS if args.images else MANIFEST
