"""`beamscribe status`: how far is a job?"""

import functools
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from beamscribe.errors import DONE, STOPPED, RefusedError
from beamscribe.pipelines.outputs.following import ShownAsBar, ShownAsLines, follow
from beamscribe.pipelines.outputs.job_status import Status, lines, status
from beamscribe.pipelines.runtime.flags.status import parser
from beamscribe.schemas.printable import printable
from beamscribe.storage.storage import Storage


def run(argv: Sequence[str]) -> int:
    """Tells the status of an output.

    Returns:
        0 if nothing is left to do, else 1.

    Raises:
        RefusedError: if the folder is no output of Beamscribe, or cannot be read.
    """
    args = parser().parse_strictly(argv)
    output = Storage(args.output, args.storage_options)
    try:
        found = _followed(output, args.json) if args.follow else status(output)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{args.output} cannot be read: {error}") from error
    print(json.dumps(found.as_fields()) if args.json else "\n".join(map(printable, lines(found))), flush=True)
    return STOPPED if found.unfinished else DONE


def _followed(output: Storage, as_json: bool) -> Status:
    """The status when no run is at work any more; on a terminal with a bar until then."""

    console = Console(file=sys.stderr)
    shown = (
        ShownAsBar(console, output.local)
        if console.is_terminal and not as_json
        else ShownAsLines(functools.partial(print, flush=True), as_json)
    )
    with shown:
        return follow(functools.partial(status, output), shown)
