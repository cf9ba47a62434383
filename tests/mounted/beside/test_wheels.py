"""Odd wheels: what has one reading is taken, what has two is refused, as a release is accepted.

Of each table one project has all rows: both tools are run once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.beside.conftest import Ended
from tests.mounted.test_environment_equal import Sides, Tree, met, tree
from tests.unionfs.conftest import WheelMaker, sha256_of, zip_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Site

    Change = Callable[[WheelMaker], WheelMaker | Path]

pytestmark = [pytest.mark.fuse]


def code(maker: WheelMaker) -> str:
    """The one module's path."""
    return next(iter(maker.files))


def fields(**changes: Any) -> Change:  # noqa: ANN401 - any field
    return lambda maker: dataclasses.replace(maker, **changes)


def line(path: str = "{code}", hash_: str | None = None, size: str = "6") -> Change:
    """Another line in RECORD for the code; `hash_` None: the right one."""

    def change(maker: WheelMaker) -> WheelMaker:
        right = sha256_of(maker.files[code(maker)]) if hash_ is None else hash_
        fields = (path.format(code=code(maker)), right, size)
        return dataclasses.replace(maker, replaced_rows={code(maker): fields})

    return change


def more(path: str, content: bytes = b"x", **changes: Any) -> Change:  # noqa: ANN401 - any field
    """One more file; "{stem}" in its path is the wheel's."""
    return lambda maker: dataclasses.replace(
        maker, files={**maker.files, path.format(stem=maker.stem): content}, **changes
    )


def zipped(**options: Any) -> Change:  # noqa: ANN401 - as the function's
    return lambda maker: maker.write(zip_bytes(maker.parts(), **options))


def in_hexadecimal(maker: WheelMaker) -> WheelMaker:
    content = maker.files[code(maker)]
    return dataclasses.replace(
        maker,
        replaced_rows={
            code(maker): (code(maker), f"sha256={hashlib.sha256(content).hexdigest()}", "6")
        },
    )


def unlisted(maker: WheelMaker) -> WheelMaker:
    return dataclasses.replace(maker, unlisted={code(maker)})


def in_record(change: Callable[[str], str]) -> Change:
    """RECORD's text otherwise."""

    def changed(maker: WheelMaker) -> WheelMaker:
        record = next(part for part in maker.parts() if part.name.endswith(b"/RECORD"))
        return dataclasses.replace(maker, record=change(record.content.decode()).encode())

    return changed


def offered(beside: Beside, name: str, change: Change) -> str:
    """Put a changed wheel into the index; its name."""
    stem = f"{name}-1.0"
    maker = WheelMaker(
        directory=beside.index.directory,
        filename=f"{stem}-py3-none-any.whl",
        stem=stem,
        metadata=f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        files={f"{name}.py": b"x = 1\n"},
    )
    made = change(maker)
    if isinstance(made, WheelMaker):
        made.write()
    beside.index.metadata[maker.filename] = (maker.metadata or "").encode()
    return re.sub("_+", "-", name)


def sides(ours: Ended, theirs: Ended, *leaves: str) -> Sides:
    """Both environments without RECORD, and without what `leaves` says."""

    def kept(found: Tree) -> Tree:
        return {
            path: node
            for path, node in found.items()
            if not any(fnmatchcase(path, one) for one in ("*.dist-info/RECORD", *leaves))
        }

    view = ours.root.resolve()
    return Sides(view=view, uvs=theirs.root, ours=kept(tree(view)), theirs=kept(tree(theirs.root)))


TAKEN: dict[str, tuple[Change, str]] = {
    "absent": (fields(rows=[("gone.py", "sha256=x", "1")]), "files that are not there ('gone.py')"),
    "climbing": (fields(rows=[("../../evil", "", "")]), "files that are not there ('../../evil')"),
    "directory": (more("sub/", b"", rows=[("sub/", "", "")]), "lists directories ('sub/')"),
    "slash": (line("/{code}"), "begin with '/' or './' ('/slash.py')"),
    "dotslash": (line("./{code}"), "begin with '/' or './' ('./dotslash.py')"),
    "hexadecimal": (in_hexadecimal, "hashes in hexadecimal ('hexadecimal.py')"),
    "itself": (fields(own_row=("sha256=AAAA", "3")), "has a hash or a size for itself"),
    "impure": (fields(wheel="Wheel-Version: 1.0\n"), "whether Root-Is-Purelib is true or false"),
    "perhaps": (
        fields(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: perhaps\n"),
        "whether Root-Is-Purelib is true or false",
    ),
    "commented": (zipped(comment=b"built by hand"), ""),
    "two__underscores": (fields(), ""),
    "twice": (
        fields(metadata="Metadata-Version: 2.1\nName: twice\nVersion: 1.0\nVersion: 1.0\n"),
        "",
    ),
    "activating": (
        more("{stem}.dist-info/entry_points.txt", b"[console_scripts]\nactivate = a:b\n"),
        "'bin/activate' is left out, where the environment has its own",
    ),
    "behind": (more("{stem}.data/data/site-packages/x"), "'site-packages/x' is left out"),
    "configured": (more("{stem}.data/data/pyvenv.cfg"), "'pyvenv.cfg' is left out"),
    "linked": (more("{stem}.data/data/lib64/linked/x"), ""),
    "deep": (more("{stem}.data/data/share/lib64/deep/x"), ""),
    "deeper": (more("{stem}.data/data/lib/lib64/deeper/x"), ""),
    "again": (more("{stem}.data/data/lib64/lib64/again"), ""),
    "both": (
        fields(
            files={
                "both.py": b"x = 1\n",
                **dict.fromkeys(
                    (f"both-1.0.data/data/{one}/both/x" for one in ("lib", "lib64")), b"x"
                ),
            }
        ),
        "",
    ),
    "dotted": (
        more("{stem}.data/scripts/./run-dotted", b"#!/bin/sh\n"),
        "have '//' or '/./' in them",
    ),
    "doubled": (
        more(
            "{stem}.data/data/share//doubled",
            replaced_rows={
                "doubled-1.0.data/data/share//doubled": (
                    "doubled-1.0.data/data/share/./doubled",
                    sha256_of(b"x"),
                    "1",
                )
            },
        ),
        "RECORD has paths that have '//' or '/./' in them",
    ),
}
"""A distribution -> what is odd about its wheel, and what is said of it ("": nothing)."""

OTHERWISE = ("site-packages", "site-packages/x", "bin/activate", "pyvenv.cfg")
"""uv writes what we leave out."""


def test_what_has_one_reading_is_taken_as_by_uv(beside: Beside) -> None:
    names = [offered(beside, name, change) for name, (change, _) in TAKEN.items()]
    files = {"requirements.txt": "".join(f"{name}\n" for name in names)}
    directory = beside.project(files)
    ours, theirs = beside.pkgview(directory), beside.uv(directory)
    assert (ours.status, theirs.status) == (0, 0), (ours.said, theirs.said)
    assert ours.distributions == theirs.distributions == dict.fromkeys(names, "1.0")
    met(sides(ours, theirs, *OTHERWISE))
    for name, (_, said) in TAKEN.items():
        shown = re.sub("_+", "-", name)
        found = re.search(rf"(?:^| ){shown} 1\.0: (.*?)\.( |\n)", ours.said)
        assert (found[1] if found else "").find(said) >= 0, ours.said
        assert bool(found) == bool(said), ours.said
    packages = next((ours.root / "lib").glob("python3.*/site-packages"))
    assert os.readlink(ours.root / "site-packages").startswith("lib/")
    record = (packages / "linked-1.0.dist-info/RECORD").read_text()
    assert "../../../lib/linked/x," in record
    assert (ours.root / "lib64/linked/x").read_bytes() == b"x"


CONTRADICTING: dict[str, tuple[Change, str]] = {
    "unlisted": (unlisted, "'unlisted.py' is not in RECORD"),
    "otherhash": (line(hash_="sha256=" + "A" * 43), "has another sha256 than RECORD says"),
    "othersize": (line(size="7"), "RECORD says that it has 7"),
    "nohash": (line(hash_=""), "has no hash"),
    "weak": (line(hash_="md5=1B2M2Y8AsgTpgAmY7PhCfg"), "weak hash md5"),
    "twolines": (fields(rows=[("twolines.py", "sha256=" + "A" * 43, "6")]), "two different lines"),
    "empty": (fields(record=b""), "is not in RECORD"),
}
"""What uv and pip install, and we only where `[tool.pkgview] accept` names it."""


def test_contradictions_are_refused_until_they_are_accepted(beside: Beside) -> None:
    for name, (change, _) in CONTRADICTING.items():
        offered(beside, name, change)
    listed = "".join(f"{name}==1.0\n" for name in CONTRADICTING)
    releases = ", ".join(f'"{name}==1.0.0"' for name in CONTRADICTING)
    accepting = beside.project(
        {"requirements.txt": listed, "pyproject.toml": f"[tool.pkgview]\naccept = [{releases}]\n"}
    )
    ours, theirs = beside.pkgview(accepting), beside.uv(accepting)
    assert (ours.status, theirs.status) == (0, 0), (ours.said, theirs.said)
    met(sides(ours, theirs))
    assert beside.pip(accepting).status == 0
    packages = next((ours.root / "lib").glob("python3.*/site-packages"))
    for name in CONTRADICTING:
        assert f"{name} 1.0: " in ours.said
        record = (packages / f"{name}-1.0.dist-info/RECORD").read_text()
        assert f"{name}.py,{sha256_of(b'x = 1' + chr(10).encode())},6\n" in record
    # That somebody accepts it does not make it anybody's.
    for name, (_, why) in CONTRADICTING.items():
        refused = beside.pkgview(beside.project({"requirements.txt": f"{name}\n"}))
        assert refused.status == 1
        assert why in refused.said
        assert f'accept = ["{name}==1.0"]' in refused.said


TWO_READINGS: dict[str, tuple[Change, str]] = {
    "trailing": (zipped(suffix=b"\0\0\0"), "3 bytes of trailing data"),
    "prepended": (zipped(prefix=b"#!/bin/sh\n"), "10 bytes of prepended data"),
}


def test_a_zip_file_with_two_readings_cannot_be_accepted(beside: Beside) -> None:
    """pip reads these; another reader finds another archive in such a file."""
    for name, (change, why) in TWO_READINGS.items():
        offered(beside, name, change)
        directory = beside.project(
            {
                "requirements.txt": f"{name}\n",
                "pyproject.toml": f'[tool.pkgview]\naccept = ["{name}==1.0"]\n',
            }
        )
        refused = beside.pkgview(directory)
        assert refused.status == 1
        assert why in refused.said
        assert "accept" not in refused.said
        assert beside.pip(directory).status == 0


BACKEND = """\
import os, zipfile
def build_editable(directory, settings=None, metadata=None):
    name, stem = "{name}-1.0-py3-none-any.whl", "{name}-1.0"
    files = {{
        "{name}.pth": os.getcwd() + "\\n",
        stem + ".data/data/share/{name}/x": "x",
        stem + ".data/data/etc/jupyter/{name}.json": "{{}}",
        stem + ".data/data/lib64/{name}/x": "x",
        stem + ".data/data/lib64/lib64/{name}": "x",
        stem + ".data/headers/{name}.h": "x",
        stem + ".data/scripts/run-{name}": "#!python\\nprint(1)\\n",
        stem + ".data/scripts/sh-{name}": "#!/bin/sh\\necho\\n",
        stem + ".data/platlib/{name}_plat.py": "x = 1",
        stem + ".dist-info/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n",
        stem + ".dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n",
        stem + ".dist-info/entry_points.txt": "[console_scripts]\\n{name} = {name}:main\\n",
        stem + ".dist-info/RECORD": "",
    }}
    with zipfile.ZipFile(os.path.join(directory, name), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return name
"""


def test_files_of_every_scheme_of_an_editable_build(beside: Beside) -> None:
    pyproject = (
        '[project]\nname = "everywhere"\nversion = "1.0"\nscripts = { everywhere = "a:b" }\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    files = {"pyproject.toml": pyproject, "backend.py": BACKEND.format(name="everywhere")}
    directory = beside.project(
        {
            "requirements.txt": "-e ./everywhere\n",
            **{f"everywhere/{name}": content for name, content in files.items()},
        }
    )
    ours, theirs = beside.pkgview(directory), beside.uv(directory)
    assert (ours.status, theirs.status) == (0, 0), (ours.said, theirs.said)
    found = sides(ours, theirs)
    met(found)
    assert {
        *("share/everywhere/x", "etc/jupyter/everywhere.json", "lib/everywhere/x"),
        *("bin/everywhere", "bin/run-everywhere", "bin/sh-everywhere"),
    } <= found.ours.keys()
    packages = next((ours.root / "lib").glob("python3.*/site-packages"))
    record = (packages / "everywhere-1.0.dist-info/RECORD").read_text()
    listed = [line.split(",")[0] for line in record.splitlines()]
    assert len(listed) > 10
    assert all((packages / path).is_file() for path in listed)
    assert len({(packages / path).resolve() for path in listed}) == len(listed)


PUBLISHED = {
    "furo==2022.12.7": "RECORD has hashes in hexadecimal",
    "pydata-sphinx-theme==0.13.1": "RECORD has hashes in hexadecimal",
    "selenium==4.1.0": "RECORD has paths that begin with '/'",
    "fmpy==0.3.15": "is not in RECORD",
    "aws-psycopg2==1.3.8": "is not in RECORD",
}
"""Releases of the public index, and what is said of them; the last two have to be accepted."""


@pytest.mark.network
@pytest.mark.slow
def test_published_wheels_are_what_uv_makes_of_them(site: Site) -> None:
    everything = os.environ.get("PKGVIEW_TEST_ALL") == "1"
    releases = [one for one in PUBLISHED if everything or not one.startswith("aws")]  # 73 MB
    directory = site.project("published")
    (directory / "requirements.txt").write_text("\n".join(releases) + "\n")
    accepted = ", ".join(f'"{one}"' for one in PUBLISHED if one.startswith(("fmpy", "aws")))
    (directory / "pyproject.toml").write_text(f"[tool.pkgview]\naccept = [{accepted}]\n")
    site.pkgview("lock", "--python", site.python, cwd=directory)
    made = site.pkgview("up", "--python", site.python, cwd=directory).stderr
    for release in releases:
        said = rf"{release.replace('==', ' ')}: .*?{PUBLISHED[release]}"
        assert re.search(said, made), made
    uvs = site.uv_environment(directory, site.home / "published-by-uv")
    ours = Ended(status=0, said="", root=directory / ".venv")
    met(sides(ours, Ended(status=0, said="", root=uvs)))
    other = site.project("published, not accepted")
    shutil.copy(directory / "pylock.toml", other)
    refused = site.pkgview("up", "--python", site.python, cwd=other, code=1).stderr
    assert re.search(r'accept = \["(fmpy==0\.3\.15|aws-psycopg2==1\.3\.8)"\]', refused), refused
