"""`beamscribe caption --report`: the page of what a job has captioned, written when the job is done."""

import sys
from collections.abc import Sequence

from beamscribe.errors import CHECK_FAILED, DONE, STOPPED, RefusedError
from beamscribe.log_lines import tell
from beamscribe.pipelines.runtime.flags.caption import parser

PAGE = "report.html"
"""Of an output, where no other name is given."""


def report_after_caption(argv: Sequence[str], code: int) -> int:
    """Writes the page if it was asked for and the job came to its end.

    Args:
        argv: of the job.
        code: exit code of the job.

    Returns:
        The exit code: that of the job, or 1 if the page could not be written; the captions are there all the same, and
        the same command writes the page.
    """
    args = parser().parse_known_args(argv)[0]
    if args.report is None or args.plan or code not in (DONE, CHECK_FAILED):
        return code
    from beamscribe.pipelines.runtime import options  # Beam, which the job has imported too.
    from beamscribe.pipelines.runtime.runners import is_dry, template_of

    beam_options = options.parse(parser(), argv)[1]
    if is_dry(beam_options) or template_of(beam_options):
        return code
    from beamscribe.pipelines.outputs.report.make import PageSettings, write_page

    settings = PageSettings(
        captions=args.output,
        output=args.report or f"{args.output.rstrip('/')}/{PAGE}",
        allow_http=args.allow_http,
        max_pixels=args.max_pixels,
        max_bytes=args.max_bytes,
        storage_options=args.storage_options,
    )
    try:
        page = write_page(settings)
    except RefusedError as error:
        print(f"beamscribe caption: the page was not written, the captions are there: {error}", file=sys.stderr)
        return code or STOPPED
    tell(sys.stdout, "report", f"beamscribe caption: the page has {page}", uri=page.uri, photographs=page.photographs)
    return code
