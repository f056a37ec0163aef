"""The error of a command that cannot do its work."""


class RefusedError(Exception):
    """Refused before launch: the message says what, where and how to mend. Exit code 2, no traceback."""
