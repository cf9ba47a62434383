"""What is new since 2025: wheel variants, revision 5, METADATA 2.5, `abi3t`, SBOMs, `.start`."""

from __future__ import annotations

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from typing import TYPE_CHECKING

import pytest

from resolver.fetch.addresses import canonical
from resolver.python.choices.own import own_choices
from resolver.python.project import project_at
from resolver.python.uv.run import uv_binary
from tests.mounted.beside.test_wheels import offered, sides
from tests.mounted.test_environment_equal import Sides, met, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Site
    from tests.unionfs.conftest import WheelMaker

pytestmark = [pytest.mark.fuse]

PROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{}]\n'

LABELS = ("-x86_64_v3", "-null")


def variants(beside: Beside, name: str, *, ordinary: bool) -> list[str]:
    """A distribution in the index that has wheel variants beside its ordinary wheel, or alone."""
    wheel = beside.index.wheel(name)
    stem = f"{name}-1.0"
    others = [f"{stem}-py3-none-any{label}.whl" for label in LABELS]
    others.append(f"{stem}-5-py3-none-any-cu12.9.whl")
    for other in others:
        shutil.copy(wheel, wheel.parent / other)
    if not ordinary:
        wheel.unlink()
        return others
    return [*others, wheel.name]


def listed(beside: Beside, names: Iterable[str], hashes: str) -> str:
    """Files of the index as a lock has them."""
    entries = []
    for name in names:
        digest = hashlib.sha256((beside.index.directory / name).read_bytes()).hexdigest()
        url = beside.index.url.replace("/simple", f"/packages/{name}")
        entries.append(f'{{ url = "{url}", {hashes.format(digest)} }}')
    return ",\n  ".join(entries)


def pylock(beside: Beside, name: str, files: Iterable[str]) -> str:
    wheels = listed(beside, files, 'hashes = {{ sha256 = "{}" }}')
    return (
        'lock-version = "1.0"\ncreated-by = "somebody"\n'
        f'[[packages]]\nname = "{name}"\nversion = "1.0"\nwheels = [{wheels}]\n'
    )


def uv_lock(beside: Beside, name: str, files: Iterable[str]) -> str:
    wheels = listed(beside, files, 'hash = "sha256:{}"')
    return (
        'version = 1\nrevision = 5\nrequires-python = ">=3.11"\n'
        '[[package]]\nname = "p"\nversion = "1"\nsource = { virtual = "." }\n'
        f'dependencies = [{{ name = "{name}" }}]\n'
        f'[package.metadata]\nrequires-dist = [{{ name = "{name}" }}]\n'
        f'[[package]]\nname = "{name}"\nversion = "1.0"\n'
        f'source = {{ registry = "{beside.index.url}" }}\nwheels = [{wheels}]\n'
    )


class TestVariants:
    """PEP 817 is a draft: uv 0.13 knows them as a preview, packaging 26.4 refuses their names."""

    def test_beside_an_ordinary_wheel_in_an_index(self, beside: Beside) -> None:
        variants(beside, "inindex", ordinary=True)
        beside.same({"requirements.txt": "inindex\n"})

    def test_beside_an_ordinary_wheel_in_a_pylock(self, beside: Beside) -> None:
        files = variants(beside, "inpylock", ordinary=True)
        ours = beside.same({"pylock.toml": pylock(beside, "inpylock", files)})
        assert f"wheel variants (PEP 817): {', '.join(files[:-1])}." in ours.said

    def test_beside_an_ordinary_wheel_in_a_uv_lock(self, beside: Beside) -> None:
        files = variants(beside, "inuvlock", ordinary=True)
        ours = beside.same(
            {
                "pyproject.toml": PROJECT.format('"inuvlock"'),
                "uv.lock": uv_lock(beside, "inuvlock", files),
            },
            "--frozen",
        )
        assert "inuvlock-1.0-5-py3-none-any-cu12.9.whl" in ours.said

    def test_alone_in_an_index(self, beside: Beside) -> None:
        variants(beside, "onlyindex", ordinary=False)
        beside.refused({"requirements.txt": "onlyindex\n"}, says="only unsupported wheel variants")

    def test_alone_in_a_lock(self, beside: Beside) -> None:
        files = variants(beside, "onlylock", ordinary=False)
        beside.refused(
            {"pylock.toml": pylock(beside, "onlylock", files)},
            says=r"onlylock 1\.0 has no file .* not understood: onlylock-1\.0-py3-none-any-x86",
        )

    def test_by_its_address(self, beside: Beside) -> None:
        name, *_ = variants(beside, "byaddress", ordinary=False)
        url = beside.index.url.replace("/simple", f"/packages/{name}")
        beside.refused({"requirements.txt": f"byaddress @ {url}\n"}, says="wheel-variants")


def test_several_underscores_in_a_lock(beside: Beside) -> None:
    """uv pip compile writes such a name as it is, and packaging refuses it."""
    offered(beside, "under__scores", lambda maker: maker)
    files = ["under__scores-1.0-py3-none-any.whl"]
    beside.same({"pylock.toml": pylock(beside, "under-scores", files)})
    path = beside.index.directory / files[0]
    beside.same({"requirements.txt": f"./{path.name}\n", path.name: path.read_bytes()})


def sdist(name: str, ending: str) -> bytes:
    """A source archive that builds itself."""
    backend = (
        "import zipfile\n"
        "def build_wheel(directory, settings=None, metadata=None):\n"
        f"    name, info = '{name}-1.0-py3-none-any.whl', '{name}-1.0.dist-info/'\n"
        "    with zipfile.ZipFile(directory + '/' + name, 'w') as file:\n"
        f"        file.writestr('{name}.py', 'x = 1')\n"
        f"        file.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\n'\n"
        "                      'Version: 1.0\\n')\n"
        "        file.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n')\n"
        "        file.writestr(info + 'RECORD', '')\n"
        "    return name\n"
    )
    project = (
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    metadata = f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2" if ending == ".tar.bz2" else "w:gz") as tar:
        for file, text in {
            "pyproject.toml": project, "backend.py": backend, "PKG-INFO": metadata,
        }.items():  # fmt: skip
            info = tarfile.TarInfo(f"{name}-1.0/{file}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_source_archives_of_other_endings_in_a_lock(beside: Beside) -> None:
    """uv (0.13) locks none any more, and installs those that a lock has: packaging refuses it."""
    for name, ending in (("oldtgz", ".tgz"), ("oldbz", ".tar.bz2")):
        path = beside.index.directory / f"{name}-1.0{ending}"
        path.write_bytes(sdist(name, ending))
        (entry,) = listed(beside, [path.name], 'hashes = {{ sha256 = "{}" }}').split(",\n")
        lock = (
            'lock-version = "1.0"\ncreated-by = "somebody"\n'
            f'[[packages]]\nname = "{name}"\nversion = "1.0"\nsdist = {entry}\n'
        )
        directory = beside.project({"pylock.toml": lock})
        ours = beside.pkgview(directory)
        assert ours.status == 0, ours.said
        assert ours.distributions == {name: "1.0"}
        if ending == ".tgz":  # the other uv does not unpack
            met(sides(ours, beside.uv(directory)))
        assert "taken as its files are" in ours.said  # its back end writes an empty RECORD


def test_source_archives_of_other_endings_are_not_locked(beside: Beside) -> None:
    """As by uv, which says why; pip takes them."""
    (beside.index.directory / "unlocked-1.0.tgz").write_bytes(sdist("unlocked", ".tgz"))
    beside.refused({"requirements.txt": "unlocked\n"}, says="non-PEP 625-compliant")
    url = beside.index.url.replace("/simple", "/packages/unlocked-1.0.tgz")
    beside.refused({"requirements.txt": f"unlocked @ {url}\n"}, says="non-PEP 625-compliant")
    local: dict[str, str | bytes] = {
        "requirements.txt": "./unlocked-1.0.tgz\n",
        "unlocked-1.0.tgz": sdist("unlocked", ".tgz"),
    }
    beside.refused(local, says="non-PEP 625-compliant")
    assert beside.pip(beside.project(local)).status == 0


def test_a_lock_as_uv_writes_it_now(beside: Beside) -> None:
    beside.index.wheel("locked")
    directory = beside.project({"pyproject.toml": PROJECT.format('"locked"')})
    environ = {**beside.site.environ, "UV_PYTHON": str(beside.site.python)}
    subprocess.run([uv_binary(), "lock", "-q"], cwd=directory, env=environ, check=True)
    lock = (directory / "uv.lock").read_text()
    assert "revision = 5\n" in lock  # else this is no test of what is new: look at what changed
    beside.same({"pyproject.toml": PROJECT.format('"locked"'), "uv.lock": lock}, "--locked")
    # Nothing in it is unknown, and so would have to be asked about.
    project = project_at(str(directory))
    assert project is not None
    assert own_choices(project, frozenset({canonical(beside.index.url)})) == frozenset()


NEW_FILES = {
    # PEP 770: what is inside it; Core metadata 2.5 (PEP 794): what it can be imported as.
    "{stem}.dist-info/sboms/inside.cdx.json": b'{"bomFormat": "CycloneDX", "specVersion": "1.6"}\n',
    "{stem}.dist-info/licenses/LICENSE": b"Anybody may.\n",
    # PEP 829: what Python 3.15 starts with, in place of the code in the .pth file of its name.
    "{name}.start": b"{name}:begin\n",
    "{name}.pth": b"import sys; sys.began = 'pth'\n",
    "{name}.py": b"import sys\ndef begin(): sys.began = 'start'\n",
}
METADATA = (
    "Metadata-Version: 2.5\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n"
    "License-File: LICENSE\nImport-Name: {name}\nImport-Name: {name}.inner ; private\n"
    "Import-Namespace: spaces\n"
)


def test_new_files_and_fields_of_a_wheel(beside: Beside) -> None:
    def change(maker: WheelMaker) -> WheelMaker:
        name = maker.stem.partition("-")[0]
        maker.metadata = METADATA.format(name=name)
        maker.files = {
            path.format(stem=maker.stem, name=name): content.replace(b"{name}", name.encode())
            for path, content in NEW_FILES.items()
        }
        return maker

    offered(beside, "newest", change)
    ours = beside.same({"requirements.txt": "newest\n"})
    (info,) = ours.root.glob("lib/python3.*/site-packages/newest-1.0.dist-info")
    record = (info / "RECORD").read_text()
    assert "newest-1.0.dist-info/sboms/inside.cdx.json,sha256=" in record
    assert "newest.start,sha256=" in record
    python = ours.root / "bin/python"
    script = "import sys, sysconfig; print(sys.began, sysconfig.get_path('stdlib'))"
    said = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, check=True,
        env=beside.site.environ, cwd=beside.site.home,
    ).stdout.split()  # fmt: skip
    began = "start" if sys.version_info >= (3, 15) else "pth"
    # PEP 739: there build-details.json of the base interpreter is looked for.
    assert said == [began, sysconfig.get_path("stdlib")]


def test_wheels_of_the_stable_abi_of_both_builds(beside: Beside) -> None:
    """PEP 803: `abi3t` is for free-threaded ones from 3.15 on; one wheel may be for both."""
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = f"linux_{platform.machine()}"
    beside.index.wheel("stable", "1.0", tag=f"{here}-abi3.abi3t-{machine}")
    beside.index.wheel("stable", "2.0", tag=f"cp315-abi3t-{machine}")
    beside.index.wheel("stable", "2.0", tag=f"{here}-abi3-{machine}")
    beside.same({"requirements.txt": "stable==1.0\n"})
    ours = beside.same({"requirements.txt": "stable==2.0\n"})
    (wheel,) = ours.root.glob("lib/python3.*/site-packages/stable-2.0.dist-info/WHEEL")
    assert f"Tag: {here}-abi3-{machine}\n" in wheel.read_text()


@pytest.mark.network
@pytest.mark.slow
def test_real_distributions_that_have_them(site: Site) -> None:
    """packaging's metadata are of 2.5, and rpds-py says what crates are inside it."""
    directory = site.project("newest")
    (directory / "requirements.txt").write_text("packaging==26.4\nrpds-py==2026.9.1\n")
    site.pkgview("lock", "--python", site.python, cwd=directory)
    site.up(directory)
    uvs = site.uv_environment(directory, site.home / "newest-by-uv")
    view = (directory / ".venv").resolve()
    found = Sides(view=view, uvs=uvs, ours=tree(view), theirs=tree(uvs))
    met(found)
    assert [path for path in found.ours if "/rpds_py-2026.9.1.dist-info/sboms/" in path]
    (metadata,) = (
        path for path in found.ours if path.endswith("/packaging-26.4.dist-info/METADATA")
    )
    assert (view / metadata).read_text().startswith("Metadata-Version: 2.5\n")
