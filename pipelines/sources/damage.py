"""What the readers of archives raise about bytes that are not as their format says."""


class DamagedArchiveError(ValueError):
    """An archive is not as its format says, or asks for more than a reader gives; the message says where."""
