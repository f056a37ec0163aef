"""What can change a row, as named fields with one digest."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any


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
        pairs: list[tuple[str, Any, Any]] = [
            (name, self.fields.get(name, "(none)"), other.fields.get(name, "(none)")) for name in names
        ]
        return [f"{name}: {ours} → {theirs}" for name, ours, theirs in pairs if ours != theirs]
