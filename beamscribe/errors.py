"""Exit codes, and refusals in one line: what every command promises."""

import errno
import sys

from beamscribe.schemas.printable import printable

DONE = 0
"""Every id is a row or a failure row; failures are counted on the last line."""
STOPPED = 1
"""Stopped or incomplete: run the same command again."""
REFUSED = 2
"""Refused before launch; nothing was changed."""
CHECK_FAILED = 3
"""Finished, but a check (`verify`, `--strict`, `--max-failures`) says no."""
INTERRUPTED = 130
"""Ctrl-C or SIGTERM; what is committed stays."""


class RefusedError(Exception):
    """A command cannot do its work: the message says what, where and how to mend. Exit code 2, no traceback."""


_LASTING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
"""Errors that running the same command again does not mend."""


def stopped_writing(command: str, place: str, error: OSError) -> int:
    """Tells that something cannot be written, once there is nothing half written.

    Args:
        command: its name.
        place: path or URI.
        error: of the storage.

    Returns:
        The exit code of a command that may be run again.

    Raises:
        RefusedError: if it would be refused again, such as by a folder that nobody may write.
    """
    told = printable(f"{place} cannot be written: {error}")
    if error.errno in _LASTING:
        raise RefusedError(f"{told}; name another --output")
    print(f"beamscribe {command}: stopped: {told}. Run the same command again", file=sys.stderr)
    return STOPPED
