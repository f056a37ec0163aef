"""`beamscribe say`: one line of text to one audio file."""

import os
from collections.abc import Sequence

from model.storage import Storage
from pipelines.flags.say import parser
from pipelines.flags.speak import FORMATS
from pipelines.speak import open_or_refuse
from pipelines.speech import SpeechError
from pipelines.speech.clip import Style, make_clip
from pipelines.speech.spoken import normalize_text
from schemas.command import DONE, RefusedError


def run(argv: Sequence[str]) -> int:
    """Speaks one line.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours = parser().parse_strictly(argv)
    folder, name = os.path.split(ours.output)
    audio_format = os.path.splitext(name)[1].removeprefix(".").lower()
    if audio_format not in FORMATS:
        raise RefusedError(f"--output {ours.output} must end in one of .{', .'.join(FORMATS)}")
    engine = open_or_refuse(ours)
    try:
        clip = make_clip(normalize_text(ours.text), engine, Style(audio_format, ours.loudness))
        Storage(folder or ".", ours.storage_options).write(name, clip.data)
    except (SpeechError, OSError) as error:
        raise RefusedError(str(error)) from error
    finally:
        engine.close()
    print(f"beamscribe say: {clip.facts.duration_seconds:.1f} s by {engine.name} {engine.version} → {ours.output}")
    return DONE
