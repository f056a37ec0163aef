"""A job whose corpus is too large for one output: part after part, each an output of its own."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, STOPPED, RefusedError
from beamscribe.log_lines import tell
from beamscribe.pipelines.commits.completion import Completion
from beamscribe.pipelines.commits.lease import Lease, LeaseLostError
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.commits.manifest_file import kept_fingerprints
from beamscribe.pipelines.runtime.flags.jobs import FailureBound, JobFlags
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import OtherParts, Request
from beamscribe.pipelines.runtime.running import interruptible
from beamscribe.pipelines.runtime.summary import left_out
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.schemas.counted import counted
from beamscribe.schemas.output_parts import PARTS, DonePart, OutputPart, parts_to_json
from beamscribe.schemas.printable import printable
from beamscribe.schemas.rows import RowFormat
from beamscribe.storage.location import without_query
from beamscribe.storage.output_reader import digest_of_files, read_done_part, read_manifest_of, read_parts
from beamscribe.storage.storage import Storage

PLANNED = 20_000
"""Images of a part that a plan lists: more than it does in its sample."""


@dataclass(frozen=True)
class PartedJob:
    """A job that is done part after part.

    Attributes:
        name: of the job.
        output: that the parts are in.
        parts: of the output, with those that the command does not ask for.
        earlier: parts of the output when the command began, of which `parts` was made.
        format: how rows are stored.
        settings: everything that can change what is asked for, or a row, as JSON can hold it.
        request: of a part, of which no more than so many images are listed; None for all.
        flags: of the command.
        skipped: what the sources name beside manifests, by reason.
    """

    name: str
    output: Storage
    parts: Sequence[OutputPart]
    earlier: Sequence[OutputPart]
    format: RowFormat
    settings: Mapping[str, Any]
    request: Callable[[OutputPart, int | None], Request]
    flags: JobFlags
    skipped: Mapping[str, int]

    @property
    def wanted(self) -> list[OutputPart]:
        """Parts of which the command asks for something."""
        return [part for part in self.parts if part.rows]

    def launch(self) -> int:
        """Does all parts, or as many as can be done now.

        Returns:
            The exit code: of the first part that is not done to its end, else of the last whose check says no.

        Raises:
            RefusedError: if a part cannot be done.
        """
        try:
            with Lease(self.output) as lease, interruptible():
                if read_parts(self.output) != self.earlier:
                    raise RefusedError(f"{self.output.uri()}: another command has changed its parts: run this again")
                return self._launch(lease)
        except (OSError, LeaseLostError) as error:
            print(printable(f"beamscribe {self.name}: stopped: {error}. Run the same command again."), file=sys.stderr)
            return STOPPED
        except KeyboardInterrupt:
            print("interrupted; what is committed stays. Run the same command again.", file=sys.stderr)
            return INTERRUPTED

    def _launch(self, lease: Lease) -> int:
        records = {part.number: record for part in self.wanted if (record := self.record_of(part))}
        todo = [part for part in self.wanted if part.number not in records]
        references = sum(record.references for record in records.values())
        failures = sum(record.failures for record in records.values())
        repeated = sum(record.repeated for record in records.values())
        code, left = DONE, sum(part.rows for part in todo)
        for part in todo:
            lease.confirm()
            request = self.request(part, None)
            if part is todo[0]:
                self._refuse_other_settings(request)
                self._store_parts()
            tell(
                sys.stdout,
                "part",
                f"beamscribe {self.name}: {part.name} of {len(self.parts)}: {counted(part.rows, 'row')}",
                part=part.name,
                rows=part.rows,
            )
            ended, found = self._do(part, replace(request, flags=self._flags_within(failures)))
            code = ended or code
            if found is None:
                return ended
            failures += len(found.failures)
            references += len(request.corpus.references)
            repeated += request.corpus.repeated
            left -= part.rows
            if self._exceeds(failures):
                break
        if not todo:
            self._store_parts()
        if self._exceeds(failures):
            code = CHECK_FAILED
            print(
                f"beamscribe {self.name}: {counted(failures, 'failure')} in all parts, more than --max-failures "
                f"{self.flags.max_failures} allows",
                file=sys.stderr,
            )
        tell(
            sys.stdout,
            "parts",
            f"beamscribe {self.name}: {references} in the corpus of {counted(len(self.wanted), 'part')}: "
            f"{references - failures} done, {failures} failed, {left} to do"
            f"{left_out(repeated, self.skipped)} → {self.output.uri()}",
            job=self.name,
            asked=references,
            done=references - failures,
            failed=failures,
            to_do=left,
            parts=len(self.wanted),
            output=self.output.uri(),
            exit_code=code,
        )
        return code

    def _store_parts(self) -> None:
        stored = [
            # What follows the question mark of a URL may be a signature.
            part._replace(pieces=tuple(piece._replace(uri=without_query(piece.uri)) for piece in part.pieces))
            for part in self.parts
        ]
        if stored != self.earlier:
            self.output.write(PARTS, parts_to_json(stored))

    def _refuse_other_settings(self, request: Request) -> None:
        """Refuses other settings than those of any part, and files of others, before a part is done.

        Raises:
            RefusedError: if there are some.
        """
        for output in (self.output, *(self.output.below(part.name) for part in self.parts)):
            earlier = None if output is self.output else read_manifest_of(output)
            kept_fingerprints(output, earlier, request.job, request.fingerprint, self.flags.on_change)

    def _do(self, part: OutputPart, request: Request) -> tuple[int, Completion | None]:
        """Does a part; what its output holds if nothing is left to do.

        Only a part that is done and whose checks say yes has a record: what the launcher has to do or to say of any
        other, it does and says again.
        """
        digest = self.digest_of(part)
        self.output.delete(part.record)
        found: list[Completion] = []
        code = launch(replace(request, whole=found.append))
        if code not in (DONE, CHECK_FAILED) or not found:
            return code, None
        if code == DONE:
            files = digest_of_files(request.output, self.format)
            corpus, failures = request.corpus, len(found[0].failures)
            record = DonePart(digest, files, len(corpus.references), failures, corpus.repeated)
            self.output.write(part.record, record.to_json())
        return code, found[0]

    def _most_failures(self) -> float | None:
        bound = self.flags.max_failures
        if bound is None:
            return None
        return bound.number * sum(part.rows for part in self.wanted) / 100 if bound.percent else bound.number

    def _exceeds(self, failures: int) -> bool:
        most = self._most_failures()
        return most is not None and failures > most

    def _flags_within(self, failures: int) -> JobFlags:
        """Flags for a part, which may have as many failures as others have left of those that are allowed."""
        most = self._most_failures()
        bound = None if most is None else FailureBound(max(0.0, most - failures), percent=False)
        return replace(self.flags, max_failures=bound)

    def plan(self) -> int:
        """Tells what is left to do of all parts would take, from images of one.

        Returns:
            The exit code.

        Raises:
            RefusedError: as `launch`, or if storage does not answer.
        """
        try:
            todo = [part for part in self.wanted if self.record_of(part) is None]
            if not todo:
                print(f"beamscribe {self.name}: plan: 0 of {sum(part.rows for part in self.wanted):,} to do")
                return DONE
            begun = [part for part in todo if read_manifest_of(self.output.below(part.name))]
            planned = next((part for part in todo if part not in begun), todo[0])
            request = self.request(planned, PLANNED)
            self._refuse_other_settings(request)
            others = sum(part.rows for part in todo) - len(request.corpus.references)
            for part in begun:
                others -= self._done_in(part, request)
            images = sum(part.rows for part in self.wanted) - len(request.corpus.references)
            return launch(replace(request, others=OtherParts(images, max(0, others))))
        except OSError as error:
            raise RefusedError(f"{self.output.uri()} cannot be read: {error}") from error

    def _done_in(self, part: OutputPart, request: Request) -> int:
        """Images of a begun part that are not done again, those that a plan lists left out."""
        output = self.output.below(part.name)
        kept = kept_fingerprints(
            output, read_manifest_of(output), request.job, request.fingerprint, self.flags.on_change
        )
        done = 0
        listed = set(request.corpus.references.ids.to_pylist()) if output.root == request.output.root else set()
        for receipt in Ledger(output, self.format).receipts():
            files = [receipt.rows, None if self.flags.retry_failed else receipt.failures]
            if receipt.fingerprint in kept:
                done += sum(id not in listed for file in files if file for id in file.ids)
        return done

    def record_of(self, part: OutputPart) -> DonePart | None:
        """The record of a part of which nothing is to do; None if something may be."""
        found = read_done_part(self.output, part, self.format)
        if found is None or found.asked != self.digest_of(part) or (found.failures and self.flags.retry_failed):
            return None
        return found

    def digest_of(self, part: OutputPart) -> str:
        """A digest of what a part asks for: of its manifests as they are now, and of the settings.

        Raises:
            RefusedError: if a manifest cannot be asked for.
        """
        versions = {}
        for uri in dict.fromkeys(piece.uri for piece in part.wanted):
            try:
                versions[uri] = version_of(Where.of(uri, self.output.options, allow_private=False))
            except OSError as error:
                raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error
        pieces = [[without_query(piece.uri), *piece[1:], versions[piece.uri]] for piece in part.wanted]
        asked = json.dumps({**self.settings, "pieces": pieces}, sort_keys=True)
        return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()
