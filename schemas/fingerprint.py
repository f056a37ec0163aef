"""What can change a row, as named fields with one digest."""

import hashlib
import json
from dataclasses import dataclass


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

    def differences(self, other: "Fingerprint") -> list[str]:
        """One line a field whose value differs, `name: this → that`."""
        names = sorted(self.fields.keys() | other.fields.keys())
        return [
            f"{name}: {self._shown(name)} → {other._shown(name)}"
            for name in names
            # Compared as the digest sees them: 1, 1.0 and true are three values.
            if self._canonical(name) != other._canonical(name)
        ]

    def _canonical(self, name: str) -> str | None:
        return json.dumps(self.fields[name]) if name in self.fields else None

    def _shown(self, name: str) -> str:
        return str(self.fields[name]) if name in self.fields else "(none)"
