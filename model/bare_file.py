"""What is left of an image file once its metadata are removed."""

from typing import NamedTuple


class Bare(NamedTuple):
    """A file of which only what decides pixels is left.

    Attributes:
        data: the file, in the same format.
        removed: bytes that were left out.
        exif: its EXIF block, where it was removed and is intact as far as the container tells; else None.
        xmp: its XMP packet, likewise.
        more_frames: whether frames or pages after the first were removed.
        exif_damaged: whether an EXIF block was removed that its container says is damaged.
    """

    data: bytes
    removed: int
    exif: bytes | None = None
    xmp: bytes | None = None
    more_frames: bool = False
    exif_damaged: bool = False
