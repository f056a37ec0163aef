"""What is found in an archive: which members are images, under which names, and where links lead."""

import fnmatch
import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from beamscribe.pipelines.sources.corpus import IMAGE_SUFFIXES, NO_IMAGE_SUFFIX, Skipped
from beamscribe.pipelines.sources.links import Folders, Link, normal, resolve
from beamscribe.pipelines.sources.packed_members import PackedMembers
from beamscribe.pipelines.work.work_item import UNREADABLE, Member, WorkItem
from beamscribe.schemas.counted import counted

MACOS = "metadata of macOS"
NOT_ASKED = "not asked for in its archive"
"""Reasons for which members are left out, beside those of links."""


class Inside(NamedTuple):
    """What a listing of an archive finds.

    Attributes:
        name: of the member; bytes that are not UTF-8 are surrogates.
        what: how to read it, what it is a link to, or why it is nothing that can be read.
    """

    name: str
    what: Member | Link | str


class ArchiveListing:
    """What has been found so far in an archive."""

    def __init__(self, uri: str, inside: str, version: str) -> None:
        self._uri, self._inside, self._version = uri, inside, version
        self._place, self.images = 0, 0
        self._names: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._members = PackedMembers()
        self._files: dict[str, int] = {}
        self._links: dict[str, Link] = {}
        self._waiting: list[tuple[int, str, Link]] = []

    def next(self, found: Inside) -> WorkItem | Skipped | None:
        """The next member, in the order of the archive; None: a link that is told at the end, see `links`."""
        place, name, path = self._place, self._unique(found.name), normal(found.name)
        self._place += 1
        if not isinstance(found.what, Link):
            self._links.pop(path, None)
            if isinstance(found.what, str):
                return Skipped(found.what)
            self._files[path] = self._members.append(found.what)
            return self._item(found.name, name, place, found.what)
        # A hard link is the file that bears the name when it is made, not one that comes later.
        file = None if found.what.symbolic else self._files.get(found.what.path() or "")
        if file is None:
            self._files.pop(path, None)
            self._links[path] = found.what
            self._waiting.append((place, name, found.what))
            return None
        self._links.pop(path, None)
        self._files[path] = file
        return self._item(found.name, name, place, self._members[file])

    def links(self) -> Iterator[WorkItem | Skipped]:
        """Links to what stands after them in the archive, and those to nothing."""
        folders = Folders(self._files)
        for place, name, link in self._waiting:
            file = resolve(link, self._files, self._links, folders)
            if isinstance(file, int):
                yield self._item(link.name, name, place, self._members[file])
            else:
                yield Skipped(left_out(link.name, self._inside) or file)

    def damage(self, why: str) -> WorkItem:
        """The archive itself, as a failure."""
        reason = f"the archive is damaged; {counted(self.images, 'image')} of it could be listed: {why}"
        member = Member(UNREADABLE, self._place, detail=reason)
        return WorkItem(self._uri, self._uri, container=self._uri, member=member)

    def _item(self, stored_name: str, name: str, place: int, member: Member) -> WorkItem | Skipped:
        reason = left_out(stored_name, self._inside)
        if reason:
            return Skipped(reason)
        self.images += 1
        id = f"{self._uri}::{name}"
        member = member._replace(place=place, version=self._version)
        return WorkItem(id, id, container=self._uri, member=member)

    def _unique(self, stored_name: str) -> str:
        """A name that is UTF-8, as ids are, and not yet taken: `a.jpg#2` is the second `a.jpg`."""
        name = unique = stored_name.encode("utf-8", "backslashreplace").decode()
        while unique in self._names:
            self._repeats[name] = self._repeats.get(name, 1) + 1
            unique = f"{name}#{self._repeats[name]}"
        self._names.add(unique)
        return unique


def left_out(name: str, inside: str) -> str:
    """Why a member is no item; empty: it is one."""
    name = name.removeprefix("./")
    if inside and name == inside:
        return ""
    # What macOS puts beside each file bears its suffix.
    if name.startswith("__MACOSX/") or posixpath.basename(name).startswith("._"):
        return MACOS
    image = name.lower().endswith(IMAGE_SUFFIXES)
    if not inside:
        return "" if image else NO_IMAGE_SUFFIX
    if (image and name.startswith(f"{inside}/")) or fnmatch.fnmatchcase(name, inside):
        return ""
    return NOT_ASKED
