"""Errors that a user can cause, as one kind of exception.

Every failure that is not a bug of ours is a `PkgviewError`: one sentence that names the
thing, and one that says what to do about it. The command line prints both, without a
traceback, and exits with `status`; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class PkgviewError(Exception):
    """A failure with its remedy.

    `what` names the thing that failed and why, `remedy` what the user can do ("" where nothing
    can be said). Subclasses exist only where code, not a person, has to tell them apart.
    """

    status = 1

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}" if self.remedy else self.what
