"""The control part of a .deb: what it says of itself, and the scripts that it would have run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from unionfs.archive.layer import Kind
from unionfs.formats.deb.files import Items
from unionfs.formats.tar.entries import entries, shown
from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unionfs.formats.tar.unpacked import Unpacked

FILE_LIMIT: Final = 8 * 2**20
"""Most bytes of one file of it: md5sums of the largest packages have about 8 MB."""

CONTROL: Final = "control"
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm", "config")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,200}")
_VERSION = re.compile(r"(?:[0-9]+:)?[A-Za-z0-9.+~-]{1,200}")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,50}")
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
_FORMS = {"Package": _PACKAGE, "Version": _VERSION, "Architecture": _ARCHITECTURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`fields` of the file control; `files` are all of the part, by name."""

    fields: Mapping[str, str]
    files: Mapping[str, bytes]

    @property
    def name(self) -> str:  # noqa: D102 - as in the file
        return self.fields["Package"]

    @property
    def version(self) -> str:  # noqa: D102 - as in the file
        return self.fields["Version"]

    @property
    def architecture(self) -> str:  # noqa: D102 - as in the file
        return self.fields["Architecture"]


def read(data: Unpacked) -> Control:
    """Read the part; raises `UnsoundTarballError`."""
    files: dict[str, bytes] = {}
    for path, item in Items(entries(data)).items():
        if item.kind is not Kind.FILE or b"/" in path:
            raise UnsoundTarballError(f"its control part has {shown(path)}, which is no file of it")
        if item.size > FILE_LIMIT:
            raise UnsoundTarballError(f"its control part has {shown(path)}, which is too large")
        files[path.decode("utf-8", "replace")] = data[item.start : item.start + item.size]
    if CONTROL not in files:
        raise UnsoundTarballError("its control part has no file control")
    fields = _fields(files[CONTROL])
    for name, form in _FORMS.items():
        if not form.fullmatch(fields.get(name, "")):
            raise UnsoundTarballError(f"its control file has no {name} that can be one")
    return Control(fields=fields, files=files)


def _fields(content: bytes) -> dict[str, str]:
    """One paragraph: `Name: value`, going on in lines that begin with white space."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UnsoundTarballError("its control file is not UTF-8") from error
    found: dict[str, str] = {}
    last = ""
    for line in text.strip("\n").split("\n"):
        if line[:1] in {" ", "\t"} and last:
            found[last] += f"\n{line}"
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            raise UnsoundTarballError("its control file has a line that cannot be read")
        last, value = match.groups()
        if any(last.lower() == one.lower() for one in found):
            raise UnsoundTarballError(f"its control file has {last} twice")
        found[last] = value.strip()
    return found
