"""The flags that say what a model is asked."""

import argparse

from beamscribe.errors import RefusedError
from beamscribe.pipelines.captioners.prompts import LANGUAGES, PRESETS, Prompt

KNOWN_FIELDS = {"id", "uri", "file_name"}
"""That every image has."""


def checked_prompt(args: argparse.Namespace, structured: bool = False) -> Prompt:
    """The prompt that the flags give.

    Args:
        args: the flags as parsed.
        structured: whether a JSON Schema is asked for too.

    Raises:
        RefusedError: if a file cannot be read, a field is none, or a language is not known.
    """
    given = args.prompt or next(iter(PRESETS))
    preset = given if given in PRESETS else ""
    language = (args.language or "").lower().replace("_", "-").split("-")[0]
    if language and language not in LANGUAGES:
        raise RefusedError(
            f"--language {args.language} cannot be asked for and checked; there are {', '.join(LANGUAGES)}"
        )
    if preset and not language and not structured:
        # The presets are English, and so are the captions of every other captioner.
        language = "en"
    prompt = Prompt(
        PRESETS.get(preset) or text_of("--prompt", given), preset, text_of("--system", args.system or ""), language
    )
    try:
        unknown = prompt.field_names() - KNOWN_FIELDS - {one.column for one in args.keep_columns or ()}
    except ValueError as error:
        raise RefusedError(f"--prompt: {error}") from error
    if unknown:
        raise RefusedError(
            f"--prompt names {', '.join(f'{{{name}}}' for name in sorted(unknown))}: it may name "
            f"{', '.join(f'{{{name}}}' for name in sorted(KNOWN_FIELDS))}, and columns that --keep-columns names, "
            f"as --keep-columns {','.join(sorted(unknown))}; a brace of the text itself is doubled"
        )
    return prompt


def text_of(flag: str, given: str) -> str:
    """A text, or that of a file if it begins with @.

    Raises:
        RefusedError: if the file cannot be read or is empty.
    """
    if not given.startswith("@"):
        return given
    try:
        with open(given[1:], encoding="utf-8") as file:
            text = file.read().strip()
    except (OSError, ValueError) as error:
        raise RefusedError(f"{flag} {given} cannot be read: {error}") from error
    if not text:
        raise RefusedError(f"{flag} {given} is empty")
    return text
