"""What uv and packaging publish as tests of their own, through our readers: what is refused.

The texts come from the source archives of pinned releases. uv's are locks (PEP 751) that stand in
its tests, as it writes them or as others do, and requirement files; some are there to be refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import InvalidRequirement, Requirement

from resolver.errors import PkgviewError
from resolver.python.interpreter import inspect
from resolver.python.requirements import requirement_files
from resolver.python.selection import choices_of
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.interpreter import Interpreter

pytestmark = [pytest.mark.network, pytest.mark.slow]

REFUSED = {
    "Multiple packages with the name": (1, "two versions for one machine: uv refuses it, too"),
    "Missing required value in 'packages'$": (1, "PEP 751 wants `packages`, be it empty"),
    "Missing required value in 'packages.*hashes'": (1, "a file without `hashes`: uv refuses it"),
    "At least one hash must be provided": (2, "uv takes it unchecked; PEP 751 wants one"),
    "is no hexadecimal hash": (1, "uv refuses it, too"),
    "is not consistent with package name": (2, "a file of another distribution: uv refuses it"),
    "None of vcs, directory, archive must be set": (1, "both a file and an archive: uv refuses it"),
    "version 2.0 is not supported": (1, "a format to come: uv refuses it"),
    "is not valid TOML": (3, "put together by the tests, from pieces that are not in the text"),
}
"""What is said of a lock -> how many there are, and why that is right."""

FOR_PYTHON = re.compile(r"(?m)^(requires-python|environments) = .*$")


def source(requirement: str) -> dict[str, str]:
    """The texts of a release's source archive, by path."""
    said = subprocess.run(
        [uv_binary(), "pip", "compile", "--quiet", "--format=pylock.toml", "--no-header",
         f"--python={sys.executable}", "-"],
        input=requirement, capture_output=True, text=True, check=True,
    )  # fmt: skip
    name = requirement.partition("=")[0]
    lock = tomllib.loads(said.stdout)
    (sdist,) = (one["sdist"] for one in lock["packages"] if one["name"] == name)
    with urllib.request.urlopen(sdist["url"], timeout=60) as answer:  # noqa: S310 - an index's
        data = answer.read()
    assert hashlib.sha256(data).hexdigest() == sdist["hashes"]["sha256"]
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith((".rs", ".txt", ".toml", ".py")):
                file = archive.extractfile(member)
                assert file is not None
                found[member.name.partition("/")[2]] = file.read().decode(errors="replace")
    return found


@pytest.fixture(scope="module")
def uvs() -> dict[str, str]:
    return source("uv==0.13.9")


def locks(texts: dict[str, str]) -> Iterator[str]:
    """Those in string literals of uv's tests, with what its tests put in place of their values."""
    for path, text in sorted(texts.items()):
        if not path.startswith("crates/uv/tests/"):
            continue
        for found in re.finditer(r'r(#+)"(.*?)"\1', text, re.DOTALL):
            if "lock-version =" not in found[2]:
                continue
            lock = textwrap.dedent(found[2])
            lock = lock[lock.index("lock-version =") :].split("----- stderr")[0]
            if "{{" in lock:  # the argument of `format!`
                lock = re.sub(r"(?<!{){(\w+)}(?!})", _value, lock).replace("{{", "{")
                lock = lock.replace("}}", "}")
            lock = lock.replace("[X]", "0").replace("[LOCALHOST]", "127.0.0.1")
            yield lock.replace("[TEMP_DIR]", "/tmp/x").replace("[WORKSPACE]", "/tmp/w")


def _value(placeholder: re.Match[str]) -> str:
    for part, value in (
        ("hash", "0" * 64),
        ("sha", "0" * 64),
        ("size", "1"),
        ("sdist", "http://127.0.0.1/a-1.0.0.tar.gz"),
        ("wheel", "http://127.0.0.1/a-1.0.0-py3-none-any.whl"),
    ):
        if part in placeholder[1]:
            return value
    return "http://127.0.0.1"


def refusal(path: Path, interpreter: Interpreter) -> str:
    """What is said of a lock; "" where it is read."""
    try:
        choices_of(path, interpreter, (), ())
    except PkgviewError as error:
        return error.what
    return ""


def test_locks_of_uvs_tests(uvs: dict[str, str], tmp_path: Path) -> None:
    interpreter = inspect(Path(sys.executable), tmp_path)
    path = tmp_path / "pylock.toml"
    counted: Counter[str] = Counter()
    for lock in locks(uvs):
        path.write_text(FOR_PYTHON.sub("", lock))  # most of uv's are for 3.12 and later
        said = refusal(path, interpreter)
        fitting = [one for one in REFUSED if re.search(one, said)] if said else ["read"]
        assert len(fitting) == 1, f"{said}\n{lock}"
        counted[fitting[0]] += 1
    assert counted.pop("read") > 90
    assert counted == {what: number for what, (number, _) in REFUSED.items()}


def test_requirement_files_of_uvs_tests(uvs: dict[str, str], tmp_path: Path) -> None:
    where = "crates/uv-requirements-txt/test-data/requirements-txt/"
    files = {path.removeprefix(where): text for path, text in uvs.items() if where in path}
    assert len(files) >= 14
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name, text in files.items():
        found = requirement_files(tmp_path / name)
        assert tmp_path / name in found.files
        named = [line for line in text.splitlines() if re.match(r"\s*[a-z0-9-]+\s*==", line)]
        assert len(found.requirements) >= len(named), name


def test_locks_and_requirements_of_packagings_tests(tmp_path: Path) -> None:
    texts = source("packaging==26.4")
    path = tmp_path / "pylock.toml"
    example = texts["tests/pylock/pylock.spec-example.toml"]
    path.write_text(FOR_PYTHON.sub("", example))
    said = refusal(path, inspect(Path(sys.executable), tmp_path))
    assert not said or "numpy 2.2.3 has wheels only for cp312" in said
    assert not said or sys.version_info[:2] != (3, 12)
    # Requirements that are valid, of which each is one for us, too.
    listed = re.findall(r'"([A-Za-z][\w.-]*(?:\[[\w,. -]*\])? ?(?:[=<>!~]=?|@)[^"\\{]*)"',
                      texts["tests/test_requirements.py"])  # fmt: skip
    valid = []
    for one in dict.fromkeys(listed):
        try:
            Requirement(one)
        except InvalidRequirement:
            continue
        valid.append(one)
    assert len(valid) > 20
    (tmp_path / "requirements.txt").write_text("\n".join(valid) + "\n")
    found = requirement_files(tmp_path / "requirements.txt")
    assert len(found.requirements) == len(valid)
