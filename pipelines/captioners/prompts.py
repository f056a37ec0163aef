"""What a model is asked: presets, fields that are filled in, and the language of the answer."""

import hashlib
import json
import string
from collections.abc import Mapping
from typing import NamedTuple

PRESETS = {
    "caption": "Describe this image in one plain sentence. Answer with the sentence alone.",
    "alt-text": "Write the alternative text of this image for somebody who uses a screen reader: what matters in it, "
    "in at most 125 characters, without the words 'image of'. Answer with the text alone.",
    "detailed": "Describe this image in detail, in one paragraph of three to six sentences: the scene, the people "
    "and things in it, what they do, colours, and text that can be read. Answer with the paragraph alone.",
}

ALT_TEXT = "alt-text"
ALT_TEXT_CHARACTERS = 125

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "ms": "Malay", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""ISO 639-1 codes that can be asked for, and the names that models know."""


class Prompt(NamedTuple):
    """What is asked of every image.

    Attributes:
        text: with `{fields}`.
        preset: name of the preset; empty for a text of the user's own.
        system: system message; empty for none.
        language: ISO 639-1 code that answers must have; empty if any will do.
    """

    text: str
    preset: str = ""
    system: str = ""
    language: str = ""

    def filled(self, fields: Mapping[str, str]) -> str:
        """The text for one image.

        Args:
            fields: name → value; those that the text names and that are missing are left empty.
        """
        # A format string may ask for attributes of objects; names alone are replaced.
        parts = []
        for before, name, spec, conversion in string.Formatter().parse(self.text):
            parts.append(before)
            if name is not None and not spec and not conversion:
                parts.append(fields.get(name, ""))
        text = "".join(parts)
        return f"{text} Write in {LANGUAGES[self.language]}." if self.language else text

    def digest(self, text: str) -> str:
        """16 hexadecimal digits that stand for a filled text with the system message."""
        return hashlib.blake2b(json.dumps([self.system, text]).encode(), digest_size=8).hexdigest()

    def field_names(self) -> set[str]:
        """Fields that the text names.

        Raises:
            ValueError: if its braces do not match, or hold more than a name.
        """
        names = set()
        for _, name, spec, conversion in string.Formatter().parse(self.text):
            if name is None:
                continue
            if spec or conversion or not name.isidentifier():
                raise ValueError(f"{{{name}}} is no name of a field; a brace of the text itself is doubled: {{{{")
            names.add(name)
        return names
