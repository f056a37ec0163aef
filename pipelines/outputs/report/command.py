"""`beamscribe report`: captions and their photographs as one page to look at."""

from collections.abc import Sequence

from beamscribe.errors import DONE
from beamscribe.pipelines.outputs.report.make import PageSettings, write_page
from beamscribe.pipelines.runtime.flags.report import parser


def run(argv: Sequence[str]) -> int:
    """Writes the page.

    Returns:
        0.

    Raises:
        RefusedError: if there is nothing to report on, or the page cannot be written.
    """
    print(f"beamscribe report: {write_page(PageSettings(**vars(parser().parse_strictly(argv))))}")
    return DONE
