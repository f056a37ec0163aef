"""A job whose corpus is too large for one output: part after part, each an output of its own."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.log_lines import tell
from beamscribe.pipelines.commits.completion import Completion
from beamscribe.pipelines.commits.lease import Lease
from beamscribe.pipelines.commits.ledger import Ledger
from beamscribe.pipelines.runtime.launcher import launch
from beamscribe.pipelines.runtime.request import OtherParts, Request
from beamscribe.pipelines.runtime.summary import left_out
from beamscribe.pipelines.sources.opened import Where
from beamscribe.pipelines.sources.versions import version_of
from beamscribe.schemas.counted import counted
from beamscribe.schemas.output_parts import PARTS, DonePart, Part, parts_to_json
from beamscribe.schemas.printable import printable
from beamscribe.schemas.rows import RowFormat
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
        parts: of the output.
        format: how rows are stored.
        settings: everything that can change what is asked for, or a row, as JSON can hold it.
        request: of a part, of which no more than so many images are listed; None for all.
        retry_failed: whether failures are tried again.
    """

    name: str
    output: Storage
    parts: Sequence[Part]
    format: RowFormat
    settings: Mapping[str, Any]
    request: Callable[[Part, int | None], Request]
    retry_failed: bool = False

    def launch(self) -> int:
        """Does all parts, or as many as can be done now.

        Returns:
            The exit code: of the first part that is not done to its end, else of the last whose check says no.

        Raises:
            RefusedError: if a part cannot be done.
        """
        try:
            with Lease(self.output):
                if self.parts != read_parts(self.output):
                    self.output.write(PARTS, parts_to_json(self.parts))
                return self._do_all()
        except OSError as error:
            print(printable(f"beamscribe {self.name}: stopped: {error}. Run the same command again."), file=sys.stderr)
            return STOPPED

    def _do_all(self) -> int:
        asked = [part for part in self.parts if part.rows]
        done: list[DonePart] = []
        code = DONE
        for part in asked:
            record = self.record_of(part)
            if record is None:
                tell(
                    sys.stdout,
                    "part",
                    f"beamscribe {self.name}: {part.name} of {len(self.parts)}: {counted(part.rows, 'row')}",
                    part=part.name,
                    rows=part.rows,
                )
                ended, record = self._do(part)
                code = ended or code
                if record is None:
                    return ended
            done.append(record)
        references, failures = sum(one.references for one in done), sum(one.failures for one in done)
        tell(
            sys.stdout,
            "parts",
            f"beamscribe {self.name}: {references} in the corpus of {counted(len(asked), 'part')}: "
            f"{references - failures} done, {failures} failed, 0 to do"
            f"{left_out(sum(one.repeated for one in done), {})} → {self.output.uri()}",
            job=self.name,
            asked=references,
            done=references - failures,
            failed=failures,
            parts=len(asked),
            output=self.output.uri(),
            exit_code=code,
        )
        return code

    def plan(self) -> int:
        """Tells what is left to do of all parts would take, from images of one.

        Returns:
            The exit code.

        Raises:
            RefusedError: as `launch`.
        """
        asked = [part for part in self.parts if part.rows]
        todo = [part for part in asked if self.record_of(part) is None]
        if not todo:
            print(f"beamscribe {self.name}: plan: 0 of {sum(part.rows for part in asked):,} to do")
            return DONE
        begun = [part for part in todo if read_manifest_of(self.output.below(part.name))]
        committed = 0
        for part in begun:
            for receipt in Ledger(self.output.below(part.name), self.format).receipts():
                committed += sum(len(file.ids) for file in (receipt.rows, receipt.failures) if file)
        request = self.request(next((part for part in todo if part not in begun), todo[0]), PLANNED)
        listed = len(request.corpus.references)
        others = OtherParts(
            sum(part.rows for part in asked) - listed,
            max(0, sum(part.rows for part in todo) - committed - listed),
        )
        return launch(replace(request, others=others))

    def record_of(self, part: Part) -> DonePart | None:
        """The record of a part of which nothing is to do; None if something may be."""
        found = read_done_part(self.output, part, self.format)
        if found is None or found.asked != self.asked(part) or (found.failures and self.retry_failed):
            return None
        return found

    def _do(self, part: Part) -> tuple[int, DonePart | None]:
        """Does a part; its record if nothing is left to do."""
        asked = self.asked(part)
        self.output.delete(part.record)
        request, found = self.request(part, None), list[Completion]()
        code = launch(replace(request, whole=found.append))
        if code not in (DONE, CHECK_FAILED) or not found:
            return code, None
        references = request.corpus.references
        files = digest_of_files(request.output, self.format)
        record = DonePart(asked, files, len(references), len(found[0].failures), request.corpus.repeated)
        self.output.write(part.record, record.to_json())
        return code, record

    def asked(self, part: Part) -> str:
        """A digest of what a part asks for: of its manifests as they are now, and of the settings."""
        versions = {}
        for uri in dict.fromkeys(piece.uri for piece in part.asked):
            try:
                versions[uri] = version_of(Where.of(uri, self.output.options, allow_private=False))
            except OSError as error:
                raise RefusedError(f"--manifest {uri} cannot be read: {error}") from error
        pieces = [[*piece, versions[piece.uri]] for piece in part.asked]
        asked = json.dumps({**self.settings, "pieces": pieces}, sort_keys=True)
        return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()
