"""A lock of Debian packages: what apt would install here beyond what the machine has.

Canonical JSON: {"format": 1, "asked": [...], "packages": [{"name": …, "sha256": …}, …]}.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Final

FORMAT: Final = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~%:_-]{0,250}\.deb")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One package: its file at `url`, of `size` bytes, and where apt has it from (`origin`)."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    url: str
    filename: str
    origin: str

    def __post_init__(self) -> None:
        """`ValueError` for what apt never says."""
        texts = (self.name, self.version, self.architecture, self.url, self.origin)
        if not all(isinstance(one, str) for one in texts) or type(self.size) is not int:
            raise ValueError(f"{self} is no package")
        if not _SHA256.fullmatch(self.sha256) or not _FILENAME.fullmatch(self.filename):
            raise ValueError(f"{self.filename} with {self.sha256} is no package's file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """`asked` are the names that it was made for; `packages` are in apt's order of installation."""

    asked: tuple[str, ...]
    packages: tuple[LockedPackage, ...]

    def to_bytes(self) -> bytes:
        """As it is written."""
        return json.dumps(
            {"format": FORMAT, "asked": self.asked, "packages": [*map(asdict, self.packages)]},
            sort_keys=True,
            indent=1,
        ).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Lock:
        """Read what `to_bytes` wrote; `ValueError` for anything else."""
        try:
            fields = json.loads(data)
            if fields["format"] != FORMAT:
                raise ValueError(f"it has format {fields['format']}")
            return cls(
                asked=tuple(map(str, fields["asked"])),
                packages=tuple(LockedPackage(**one) for one in fields["packages"]),
            )
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(repr(error)) from error
