"""What a user sees of a tarball's faults."""

from __future__ import annotations

from resolver.errors import PkgviewError
from resolver.naming import spelled

_FAULTS_SHOWN = 5


class TarballRefused(PkgviewError):  # noqa: N818 - what happened to it, as the user reads it
    """A tarball that is not taken in; `faults` has every reason, the message the first ones."""

    def __init__(self, filename: str, *faults: str) -> None:
        shown = spelled("; ".join(faults[:_FAULTS_SHOWN]))
        more = len(faults) - _FAULTS_SHOWN
        super().__init__(
            f"the package {spelled(filename)} is refused: {shown}"
            + (f"; and {more} more" if more > 0 else ""),
            remedy="It is damaged or was tampered with, or it was packed wrong: fetch it again, "
            "or ask for another version.",
        )
        self.filename = filename
        self.faults = faults
