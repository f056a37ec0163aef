"""`beamscribe say`: one line of text to one audio file."""

import os
from collections.abc import Sequence

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.runtime.flags.say import parser
from beamscribe.pipelines.speak import open_or_refuse
from beamscribe.pipelines.speech import FORMATS, SpeechError
from beamscribe.pipelines.speech.clip import Style, make_clip
from beamscribe.pipelines.speech.spoken import normalize_text
from beamscribe.storage.storage import Storage


def run(argv: Sequence[str]) -> int:
    """Speaks one line.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    folder, name = os.path.split(args.output)
    audio_format = os.path.splitext(name)[1].removeprefix(".").lower()
    if audio_format not in FORMATS:
        raise RefusedError(f"--output {args.output} must end in one of .{', .'.join(FORMATS)}")
    engine = open_or_refuse(args)
    try:
        clip = make_clip(normalize_text(args.text), engine, Style(audio_format, args.loudness))
        Storage(folder or ".", args.storage_options).write(name, clip.data)
    except (SpeechError, OSError) as error:
        raise RefusedError(str(error)) from error
    finally:
        engine.close()
    print(f"beamscribe say: {clip.facts.duration_seconds:.1f} s by {engine.name} {engine.version} → {args.output}")
    return DONE
