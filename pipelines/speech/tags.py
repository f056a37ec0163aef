"""What an audio file says of itself: title and artist, where players look for them."""

import io
from collections.abc import Callable

import mutagen.flac
import mutagen.id3
import mutagen.ogg
import mutagen.oggvorbis
import mutagen.wave

OGG_SERIAL = 1
"""Of the one stream in a file. libsndfile draws it at random, which made equal sound unequal files."""


def tag(data: bytes, format: str, title: str, artist: str) -> bytes:
    """The file with title and artist, and no other tags; the same file and words give the same bytes.

    Args:
        data: an audio file.
        format: "mp3" and "wav" get an ID3v2.4 tag, "ogg" and "flac" Vorbis comments.
        title: what is said.
        artist: who says it.

    Raises:
        ValueError: if the file is not of that format.
    """
    # ID3 parts values with NUL.
    title, artist = title.replace("\0", " "), artist.replace("\0", " ")
    file = io.BytesIO(data)
    try:
        _TAGGERS[format](file, title, artist)
    except mutagen.MutagenError as error:
        raise ValueError(f"{len(data)} bytes are no {format} file: {error}") from error
    return file.getvalue()


def _id3(tags: mutagen.id3.ID3, title: str, artist: str) -> None:
    tags.clear()
    tags.add(mutagen.id3.TIT2(encoding=mutagen.id3.Encoding.UTF8, text=title))
    tags.add(mutagen.id3.TPE1(encoding=mutagen.id3.Encoding.UTF8, text=artist))


def _no_padding(info: mutagen.PaddingInfo) -> int:
    return 0


def _tag_mp3(file: io.BytesIO, title: str, artist: str) -> None:
    tags = mutagen.id3.ID3()
    _id3(tags, title, artist)
    tags.save(file, padding=_no_padding)


def _tag_wav(file: io.BytesIO, title: str, artist: str) -> None:
    wave = mutagen.wave.WAVE(file)
    if wave.tags is None:
        wave.add_tags()
    _id3(wave.tags, title, artist)
    file.seek(0)
    wave.save(file, padding=_no_padding)


def _comment(audio: mutagen.FileType, file: io.BytesIO, title: str, artist: str) -> None:
    if audio.tags is None:
        audio.add_tags()
    audio.tags.clear()
    audio.tags["title"], audio.tags["artist"] = title, artist
    file.seek(0)
    audio.save(file, padding=_no_padding)


def _tag_flac(file: io.BytesIO, title: str, artist: str) -> None:
    _comment(mutagen.flac.FLAC(file), file, title, artist)


def _tag_ogg(file: io.BytesIO, title: str, artist: str) -> None:
    _comment(mutagen.oggvorbis.OggVorbis(file), file, title, artist)
    file.seek(0)
    pages = []
    while file.tell() < len(file.getbuffer()):
        page = mutagen.ogg.OggPage(file)
        page.serial = OGG_SERIAL
        pages.append(page.write())
    file.seek(0)
    file.truncate()
    file.write(b"".join(pages))


_TAGGERS: dict[str, Callable[[io.BytesIO, str, str], None]] = {
    "mp3": _tag_mp3,
    "ogg": _tag_ogg,
    "flac": _tag_flac,
    "wav": _tag_wav,
}
