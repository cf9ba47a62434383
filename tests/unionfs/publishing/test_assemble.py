"""A lock's choices become archives: each by the shortest way, and what cannot be had by none."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.buildenv import build_variables
from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.python.discovery import find_interpreter
from resolver.python.project import Origin, PythonProject
from resolver.python.selection import Choice, Source
from resolver.python.uv.settings import build_settings
from unionfs.cli.progress import Display
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.packages import package_of, source_key
from unionfs.formats.python.wish import PythonWish
from unionfs.publishing.assemble import Means, assemble
from unionfs.store.ordered import Stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.manifest import LayerSpec
    from resolver.places import Places
    from resolver.python.interpreter import Interpreter
    from tests.unionfs.conftest import WheelMaker

BACKEND = """
import base64, hashlib, zipfile
from pathlib import Path

def build_wheel(directory, settings=None, metadata=None):
    info, name = f"{NAME}-1.0.dist-info", f"{NAME}-1.0-py3-none-any.whl"
    files = {
        f"{NAME}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = ""
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).digest()
        digest = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\\n"
    with zipfile.ZipFile(Path(directory, name), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return name
"""


@pytest.fixture
def interpreter(isolated_places: Places) -> Interpreter:
    return find_interpreter(None, None, isolated_places.state)


@pytest.fixture
def means(isolated_places: Places, tmp_path: Path) -> Means:
    project = PythonProject(root=tmp_path, origin=Origin.PYLOCK, inputs=())
    return Means(
        places=isolated_places, store=Stores(isolated_places),
        making=KIND.making(isolated_places, PythonWish(project=project, offline=True)),
        progress=Display(quiet=True), offline=True,
    )  # fmt: skip


async def assembled(
    choices: Sequence[Choice], means: Means, interpreter: Interpreter
) -> tuple[LayerSpec, ...]:
    state = means.places.state
    packages = [package_of(choice, interpreter, state) for choice in choices]
    layers = await assemble(packages, means)
    assert layers is not None
    return layers


def wheel_choice(path: Path, *, name: str = "demo") -> Choice:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Choice(
        name=name, version="1.0", kind=Source.WHEEL, filename=path.name, path=path,
        hashes=(("sha256", digest),),
    )  # fmt: skip


async def test_a_wheel_is_packed_once(
    means: Means, wheel_maker: WheelMaker, interpreter: Interpreter
) -> None:
    path = wheel_maker.write()
    (layer,) = await assembled([wheel_choice(path)], means, interpreter)
    assert (layer.name, layer.version) == ("demo", "1.0")
    means.store.verify(layer.archive)
    path_of_it = means.store.path(layer.archive).stat()
    path.unlink()
    # Known by its hash: the file is not even looked at.
    again = await assembled([wheel_choice(wheel_maker.write())], means, interpreter)
    assert again == (layer,)
    assert means.store.path(layer.archive).stat().st_mtime_ns == path_of_it.st_mtime_ns
    assert means.progress.archives == 1  # type: ignore[attr-defined]


async def test_one_that_goes_to_several_places_is_packed_once(
    means: Means, wheel_maker: WheelMaker, interpreter: Interpreter
) -> None:
    choice = wheel_choice(wheel_maker.write())
    package = package_of(choice, interpreter, means.places.state)
    places = [replace(package, grafts=(("purelib", path),)) for path in ("a", "b/c")]
    layers = await assemble(places, means)
    assert layers is not None
    assert [layer.grafts for layer in layers] == [(("purelib", "a"),), (("purelib", "b/c"),)]
    assert len({layer.archive for layer in layers}) == 1
    assert means.progress.archives == 1  # type: ignore[attr-defined]


async def test_one_that_fails_does_not_undo_the_others(
    means: Means, wheel_maker: WheelMaker, interpreter: Interpreter
) -> None:
    good = wheel_choice(wheel_maker.write())
    wrong = replace(good, name="other", filename="other-1.0-py3-none-any.whl")
    with pytest.raises(PkgviewError, match="is not the locked file"), single_failure():
        await assembled([good, replace(wrong, hashes=(("sha256", "0" * 64),))], means, interpreter)
    assert not [name for name in means.store.names() if name.startswith("other")]
    key = source_key(good, interpreter)
    assert key is not None
    if means.store.archive_of(key) is None:  # both were begun; the good one may not have ended
        await assembled([good], means, interpreter)
    assert means.store.archive_of(key) in means.store.names()


async def test_a_wheel_of_another_name_is_refused(
    means: Means, wheel_maker: WheelMaker, interpreter: Interpreter
) -> None:
    choice = wheel_choice(wheel_maker.write(), name="other")
    with pytest.raises(PkgviewError, match="demo"), single_failure():
        await assembled([choice], means, interpreter)
    assert means.store.names() == []


async def test_two_distributions_of_one_source_archive(
    means: Means, tmp_path: Path, isolated_places: Places, interpreter: Interpreter
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for name in ("one", "two"):
            texts = {
                "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
                f'backend-path = ["."]\n[project]\nname = "{name}"\nversion = "1.0"\n',
                "backend.py": f"NAME = {name!r}\n{BACKEND}",
            }
            for path, text in texts.items():
                member = tarfile.TarInfo(f"repository/{name}/{path}")
                member.size = len(text)
                file.addfile(member, io.BytesIO(text.encode()))
    archive = tmp_path / "repository.tar.gz"
    archive.write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    choices = [
        Choice(
            name=name, version="1.0", kind=Source.ARCHIVE, filename=archive.name, path=archive,
            hashes=(("sha256", digest),), subdirectory=name,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    layers = await assembled(choices, means, interpreter)
    assert [layer.name for layer in layers] == ["one", "two"]
    assert len({layer.archive for layer in layers}) == 2
    assert not list((isolated_places.cache / "builds").iterdir())
    assert await assembled(choices, means, interpreter) == layers


@pytest.fixture
def bare_environ(monkeypatch: pytest.MonkeyPatch, isolated_places: Places) -> None:  # noqa: ARG001 - HOME
    """Nothing that a build would follow from."""
    for variable in build_variables(os.environ):
        monkeypatch.delenv(variable.partition("=")[0])


@pytest.mark.usefixtures("bare_environ")
def test_what_is_built_follows_from_the_settings_of_compilers_and_back_ends(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def keys() -> tuple[str | None, ...]:
        sha256 = (("sha256", "0" * 64),)
        found = (
            Choice(name="demo", version="1.0", kind=Source.SDIST, filename="x.tar.gz",
                   hashes=sha256),
            Choice(name="demo", version=None, kind=Source.VCS, commit="1" * 40, url="git+x"),
            Choice(name="demo", version=None, kind=Source.DIRECTORY, path=tmp_path, editable=True),
        )  # fmt: skip
        return tuple(source_key(choice, interpreter) for choice in found)

    before = keys()
    seen = {before}
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("CFLAGS", "")
    assert keys() == before
    for name, value in (
        ("CFLAGS", "-O0"), ("CFLAGS", "-O3"), ("CC", "clang"), ("LDFLAGS", "-s"),
        ("CMAKE_ARGS", "-DX=1"), ("RUSTFLAGS", "-g"), ("SETUPTOOLS_SCM_PRETEND_VERSION", "2"),
        ("UV_BUILD_CONSTRAINT", str(tmp_path / "constraints")),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
        assert all(len({one[place] for one in (*seen, keys())}) == len(seen) + 1
                   for place in range(3))  # fmt: skip
        seen.add(keys())
    (tmp_path / "constraints").write_text("setuptools<80")
    assert keys() not in seen
    seen.add(keys())
    settings = Path(os.environ["XDG_CONFIG_HOME"], "uv/uv.toml")
    settings.parent.mkdir(parents=True)
    settings.write_text('index-url = "https://example.org/simple"\n')
    assert keys() in seen
    settings.write_text('config-settings = { "--build-option" = "--fast" }\n')
    assert keys() not in seen


def test_what_the_store_remembers(interpreter: Interpreter, tmp_path: Path) -> None:
    interpreter = replace(interpreter, installed=True)

    def key(**fields: Any) -> str | None:  # noqa: ANN401 - any of Choice's
        filled = {"name": "demo", "version": "1.0", **fields}
        return source_key(Choice(**filled), interpreter)

    sha256 = (("sha256", "0" * 64),)
    wheel = key(kind=Source.WHEEL, filename="x.whl", hashes=sha256)
    assert wheel == "sha256-" + "0" * 64
    assert key(kind=Source.WHEEL, filename="x.whl", hashes=(("sha512", "0" * 128),)) is None
    built = key(kind=Source.SDIST, filename="x.tar.gz", hashes=sha256)
    assert built is not None
    assert built != wheel
    assert built != key(kind=Source.ARCHIVE, filename="x.zip", hashes=sha256, subdirectory="a")
    other = replace(interpreter, tags=("cp399-cp399-linux_x86_64",))
    choice = Choice(
        name="demo", version="1.0", kind=Source.SDIST, filename="x.tar.gz", hashes=sha256
    )
    assert source_key(choice, other) != built
    # What a Python has built that a project brought is that one's; of others nothing more counts.
    assert source_key(choice, replace(interpreter, installed=False)) not in {built, None}
    whole = "\0".join(
        ("2", "0" * 64, "", "", interpreter.tag, *filter(None, [build_settings(None)]))
    )
    assert built == f"built-{hashlib.sha256(whole.encode()).hexdigest()}"
    commit = key(kind=Source.VCS, url="https://h/x.git", commit="1" * 40)
    assert commit is not None
    assert commit != key(kind=Source.VCS, url="https://h/x.git", commit="2" * 40)
    # A directory that is not editable has nothing that could be compared.
    assert key(kind=Source.DIRECTORY, path=tmp_path) is None
    inner = key(kind=Source.DIRECTORY, path=tmp_path, editable=True, subdirectory="inner")
    assert inner != key(kind=Source.DIRECTORY, path=tmp_path, editable=True)
