"""What can change a row, as named fields with one digest."""

import hashlib
import json
from dataclasses import dataclass

LATER_FIELDS: dict[str, str | None] = {
    "search": "1",
    "detokenizer": "1",
    "pillow": None,
    "text_parts": None,
    "layout": "parquet",
}
"""Fields that older fingerprints lack, and the value that was true then; None where it was not recorded.

A fingerprint without such a field is that of the same rows as one with this value; where it was not recorded, as one
with any value. A field that decides nothing in one of two jobs (Pillow where features are read) is lacking there too.
Only texts that an engine cannot take at once are spoken in parts.
"""


@dataclass(frozen=True)
class Fingerprint:
    """Named settings that can change a row; everything else (batch size, threads, runner) is left out.

    Attributes:
        fields: name to value, JSON scalars only, so that a difference can be told field by field.
    """

    fields: dict[str, str | int | float | bool]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for all fields."""
        canonical = json.dumps(self.fields, sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()

    def same_rows(self, other: "Fingerprint") -> bool:
        """Whether nothing is known to differ, so that an output with one is continued with the other."""
        return not self.differences(other)

    def differences(self, other: "Fingerprint") -> list[str]:
        """One line a field whose value differs, `name: this → that`; see `LATER_FIELDS` for those that one lacks."""
        names = sorted(self.fields.keys() | other.fields.keys())
        return [
            f"{name}: {self._shown(name)} → {other._shown(name)}"
            for name in names
            # Compared as the digest sees them: 1, 1.0 and true are three values.
            if self._canonical(name) != other._canonical(name) and not self._unknown(name, other)
        ]

    def _canonical(self, name: str) -> str | None:
        value = self.fields.get(name, LATER_FIELDS.get(name))
        return None if value is None else json.dumps(value)

    def _unknown(self, name: str, other: "Fingerprint") -> bool:
        """Whether one of the two was made when this field was not recorded."""
        return LATER_FIELDS.get(name, "") is None and not (name in self.fields and name in other.fields)

    def _shown(self, name: str) -> str:
        return str(self.fields.get(name, LATER_FIELDS.get(name) or "(none)"))
