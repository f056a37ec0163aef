"""What `--keep-columns` asks for; light, for flags are parsed before anything is loaded."""

from typing import NamedTuple

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TYPES = ("string", *INTEGERS, "float32", "float64", "bool", "date", "timestamp")
"""That may be declared. A timestamp is in microseconds, UTC."""


class Keep(NamedTuple):
    """A column to be kept.

    Attributes:
        column: its name in the rows of captions.
        source: its name in the manifest, in the JSON of a sample, or the suffix of a member beside the image.
        type: one of `TYPES`; empty: that of the source.
    """

    column: str
    source: str
    type: str = ""


def parse_keep(text: str) -> tuple[Keep, ...]:
    """Reads `NAME,NAME:TYPE,NEW=NAME`.

    A name may hold colons, as `dc:title`: only what follows the last of them and is a type declares one.

    Raises:
        ValueError: if it is none, or gives two columns one name.
    """
    found = []
    for part in text.split(","):
        column, renamed, source = part.strip().rpartition("=")
        name, colon, declared = source.rpartition(":")
        if not (colon and name and declared in TYPES):
            name, declared = source, ""
        column, name = column.strip() or name.strip(), name.strip()
        if not name or (renamed and not part.partition("=")[0].strip()):
            raise ValueError(f"{text!r} is no list of columns, such as url,width:int64,source_id=id")
        found.append(Keep(column, name, declared))
    columns = [one.column for one in found]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} stands in it more than once: NEW=NAME gives one of them another name")
    return tuple(found)
