"""Files of a local folder, or of a pattern there, with links followed and what is left out counted.

A file that is reached by two names, as through a link, is two files. A folder is one: where a second way leads to it,
as through a link that makes a loop, the link is left out.
"""

import collections
import errno
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fsspec.utils import glob_translate

from beamscribe.pipelines.sources.corpus import Skipped

HIDDEN = "hidden"
SYSTEM = "metadata of the operating system"
BROKEN = "broken link"
AGAIN = "link to a folder that is listed without it"
FOLDER = "folder that a pattern names"
SPECIAL = "no regular file"
"""Reasons for which files are left out, beside those of their suffixes."""

_SYSTEM = frozenset(("thumbs.db", "desktop.ini", ".ds_store", "__macosx"))


def left_out_by_name(path: str) -> str | None:
    """Why a path below a source is left out because of a name in it; None: it is not."""
    reason = None
    for name in path.split("/"):
        if name.lower() in _SYSTEM or name.startswith("._"):
            return SYSTEM
        if name.startswith(".") and name != ".":
            reason = HIDDEN
    return reason


class Folder(NamedTuple):
    """A folder that is walked.

    Attributes:
        path: by which it was reached.
        entries: of it, that are no folders.
    """

    path: str
    entries: list[os.DirEntry[str]]


def walk(root: str) -> Iterator[str | Skipped]:
    """The paths of all files of a folder, at any depth.

    What lies in the folder is listed before what links in it lead to, so that a file has its own path if it can.

    Raises:
        OSError: if a folder cannot be listed.
    """
    for folder in _folders(root):
        if isinstance(folder, Skipped):
            yield folder
            continue
        for entry in folder.entries:
            plain = entry.is_file(follow_symlinks=False)
            yield entry.path if plain else _what_is(entry.path) or entry.path


def match(pattern: str) -> Iterator[str | Skipped]:
    """The paths of all files that a pattern names: `*`, `?`, `[…]`, and `**` for folders at any depth.

    A part of the pattern that is the name of a file as it stands, such as `photos [2020]`, is that name.

    Args:
        pattern: an absolute path.

    Raises:
        OSError: if a folder cannot be listed.
        ValueError: if `**` is not a part of its own.
    """
    parts = pattern.strip("/").split("/")
    known: set[str] = set()
    for found in _matches("/", parts, None):
        if isinstance(found, Skipped):
            yield found
            continue
        path, reason = found
        if path in known:
            continue
        known.add(path)
        what = _what_is(path)
        if what and what.reason != FOLDER:
            yield what
        elif what and "**" in parts:
            continue  # The files in it are named too.
        elif reason:
            yield Skipped(reason)
        else:
            yield what or path


def _matches(base: str, parts: list[str], reason: str | None) -> Iterator[tuple[str, str | None] | Skipped]:
    """What some parts of a pattern name below a folder, each with the reason to leave it out, if there is one."""
    part, *rest = parts
    if part == "**":
        yield from _below(base, rest, reason)
        return
    names: Iterable[str] = (part,)
    if glob.has_magic(part) and not os.path.lexists(os.path.join(base, part)):
        fits = re.compile(glob_translate(part)).match
        with os.scandir(base) as entries:
            names = sorted(entry.name for entry in entries if fits(entry.name))
    for name in names:
        path = os.path.join(base, name)
        why = reason or (None if part.startswith(name[0]) else left_out_by_name(name))
        if not rest:
            if os.path.lexists(path):
                yield path, why
        elif os.path.isdir(path):
            yield from _matches(path, rest, why)


def _below(base: str, parts: list[str], reason: str | None) -> Iterator[tuple[str, str | None] | Skipped]:
    """What some parts of a pattern name in a folder and in all folders below it."""
    for folder in _folders(base):
        if isinstance(folder, Skipped):
            yield folder
            continue
        why = reason or left_out_by_name(os.path.relpath(folder.path, base))
        if parts:
            yield from _matches(folder.path, parts, why)
        else:
            yield from ((entry.path, why or left_out_by_name(entry.name)) for entry in folder.entries)


def _folders(root: str) -> Iterator[Folder | Skipped]:
    """A folder and all below it, each once; and the ways that lead to one again."""
    seen = {_identity(os.stat(root))}

    def is_new(path: str) -> bool:
        identity = _identity(os.stat(path))
        known = identity in seen
        seen.add(identity)
        return not known

    waiting = collections.deque((root,))
    while waiting:
        folders, links = [waiting.popleft()], []
        while folders:
            folder = Folder(folders.pop(), [])
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    linked = entry.is_symlink()
                    # Of a link to itself `entry.is_dir` raises.
                    if not (os.path.isdir(entry.path) if linked else entry.is_dir()):
                        folder.entries.append(entry)
                    elif linked:
                        links.append(entry.path)
                    elif is_new(entry.path):
                        folders.append(entry.path)
                    else:
                        yield Skipped(AGAIN)
            yield folder
        for link in sorted(links):
            if is_new(link):
                waiting.append(link)
            else:
                yield Skipped(AGAIN)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _what_is(path: str) -> Skipped | None:
    """Why what a path names is no file; None: it is one."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return Skipped(BROKEN)
        raise
    if stat.S_ISDIR(mode):
        return Skipped(FOLDER)
    return None if stat.S_ISREG(mode) else Skipped(SPECIAL)
