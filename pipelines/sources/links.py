"""Links inside an archive: which file each is, told by names alone and never by a path outside of the archive."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import NamedTuple

DANGLING, LOOP, OUTSIDE, TO_FOLDER = (
    "link to nothing in its archive",
    "link in a loop",
    "link out of its archive",
    "link to a folder",
)
"""Why a link is no item."""

MOST_STEPS = 40
"""Links that lead to links; Linux gives up after as many."""


class Link(NamedTuple):
    """A hard or symbolic link.

    Attributes:
        name: of the link.
        target: that it names.
        symbolic: whether the target is told from the link's folder; else from the root of the archive.
    """

    name: str
    target: str
    symbolic: bool

    def path(self) -> str | None:
        """The target from the root of the archive, as `normal` writes it; None: it is outside."""
        if not self.symbolic:
            path = normal(self.target)
        elif self.target.startswith("/"):
            return None
        else:
            path = normal(posixpath.join(posixpath.dirname(normal(self.name)), self.target))
        return None if path == ".." or path.startswith("../") else path


def normal(name: str) -> str:
    """A member's name without what makes no difference: a leading `/` or `./`, double slashes, `..` behind a folder."""
    if name.startswith(("/", ".")) or "//" in name or "/." in name or name.endswith("/"):
        return posixpath.normpath(name.lstrip("/"))
    return name


def resolve(link: Link, files: Mapping[str, int], links: Mapping[str, Link], folders: "Folders") -> int | str:
    """The file that a link is in the end.

    Args:
        link: which.
        files: number of each file by its normal name.
        links: other links of the archive by their normal names, to files and to folders.
        folders: all folders of the archive.

    Returns:
        The file's number, or one of the reasons above.
    """
    path, steps = link.path(), 0
    while path is not None:
        if path in files:
            return files[path]
        found = _first_link(path, links)
        if found is None:
            return TO_FOLDER if path in folders else DANGLING
        steps += 1
        if steps > MOST_STEPS:
            return LOOP
        through, rest = found
        target = links[through].path()
        path = None if target is None else normal(posixpath.join(target, rest))
        if path == ".." or (path or "").startswith("../"):
            path = None
    return OUTSIDE


def _first_link(path: str, links: Mapping[str, Link]) -> tuple[str, str] | None:
    """The first part of a path that is a link, and the rest after it."""
    end = 0
    while end >= 0:
        end = path.find("/", end + 1)
        part = path if end < 0 else path[:end]
        if part in links:
            return part, "" if end < 0 else path[end + 1 :]
    return None


class Folders:
    """The folders of an archive, which need not be members of it.

    Args:
        names: of all members, normal.
    """

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names, self._found = names, set[str]()

    def __contains__(self, path: str) -> bool:
        if not self._found:
            self._found = {parent for name in self._names for parent in _parents(name)} | {"."}
        return path in self._found


def _parents(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name
