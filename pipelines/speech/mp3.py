"""MP3 files joined to one that players hear to its end.

An encoder may begin a file with a frame that holds no sound but says how many there are (Xing or Info, or VBRI).
Players believe it, and end there; without it they guess the length of a file of variable bit rate. So files that have
such a frame are decoded and encoded anew; others are simply set one behind the other, as the format allows.
"""

from collections.abc import Sequence

from beamscribe.pipelines.speech.audio import decode, encode, joined

_DESCRIPTIONS = (b"Xing", b"Info", b"VBRI")
_LATEST_BYTE = 40
"""The last byte of the first frame by which a description has begun: behind its header and at most 32 bytes of side
information."""


def join_mp3(files: Sequence[bytes]) -> bytes:
    """The sound of several files, one after the other; one file alone stays as it is.

    Raises:
        SpeechError: `BadAudio` if one that describes itself does not decode, or they do not fit together.
    """
    if len(files) > 1 and any(map(_describes_itself, files)):
        return encode(joined([decode(file) for file in files]), "mp3")
    return b"".join(files)


def _describes_itself(data: bytes) -> bool:
    if data.startswith(b"ID3") and len(data) > 10:
        data = data[10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)) :]
    return any(name in data[: _LATEST_BYTE + 4] for name in _DESCRIPTIONS)
