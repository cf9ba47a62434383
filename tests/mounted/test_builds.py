"""Whom a build counts for: what one project had it made with, or by, is no other project's.

And what it is made with: what the project says of indexes, wherever it says it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.conftest import an_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

BACKEND = """
import os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None, pth=None):
    name, _, version = os.path.basename(os.getcwd()).partition("-")
    name = name if version else "lib"
    info = f"{name}-1.0.dist-info/"
    with zipfile.ZipFile(f"{directory}/{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"who = {WHO!r}")
        if pth:
            file.writestr(f"{name}.pth", pth)
        file.writestr(info + "METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        file.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        file.writestr(info + "RECORD", "")
    return f"{name}-1.0-py3-none-any.whl"
def build_editable(directory, config_settings=None, metadata_directory=None):
    return build_wheel(directory, pth=PTH)
"""
SYSTEM = '[build-system]\nrequires = ["be"]\nbuild-backend = "be"\n'
SAY = "import sd; print(sd.who)"


def back_end(index: Index, who: str, name: str = "os.path.basename(os.getcwd())") -> Path:
    """The build back end `be` 1.0: what it builds says whose it was."""
    code = BACKEND.replace("os.path.basename(os.getcwd())", name)
    return index.wheel("be", files={"be.py": f"WHO, PTH = {who!r}, None\n{code}".encode()})


def source(directory: Path, name: str = "sd") -> Path:
    """An sdist that wants that back end."""
    return packed_source(directory, name, SYSTEM, {})


def packed_source(directory: Path, name: str, system: str, files: Mapping[str, str]) -> Path:
    """An sdist with that build system and more files."""
    path = directory / f"{name}-1.0.tar.gz"
    text = f'{system}[project]\nname = "{name}"\nversion = "1.0"\n'
    told = f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(path, "w:gz") as packed:
        for inside, content in {"pyproject.toml": text, "PKG-INFO": told, **files}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{inside}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content.encode()))
    return path


def project(shop: Site, name: str, dependencies: str = '"sd"', more: str = "") -> Path:
    directory = shop.project(name)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1"\ndependencies = [{dependencies}]\n{more}'
    )
    (directory / "t.py").write_text(SAY)
    return directory


def locked(shop: Site, index: Index, name: str, file: Path, *, directory: str = "clone") -> Path:
    """A project that somebody else has locked: one file of an index, under that name."""
    clone = shop.project(directory)
    (clone / "t.py").write_text(SAY)
    table = "[[packages.wheels]]" if file.suffix == ".whl" else "[packages.sdist]"
    (clone / "pylock.toml").write_text(
        f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "{name}"\n'
        f'version = "1.0"\nindex = "{index.url}"\n{table}\nname = "{file.name}"\n'
        f'url = "{index.url.removesuffix("/simple")}/packages/{file.name}"\n'
        f'hashes = {{ sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}" }}\n'
    )
    return clone


def who(shop: Site, directory: Path) -> str:
    shop.pkgview("up", "--python", shop.python, cwd=directory)
    return shop.run(directory / ".venv/bin/python", "t.py", cwd=directory).stdout.strip()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Index]:
    """An index that is not the user's."""
    with an_index(tmp_path / "other") as served:
        yield served


def test_what_a_project_has_a_build_made_with_is_for_that_project(
    shop: Site, index: Index, other: Index
) -> None:
    back_end(index, "own")
    foreign = back_end(other, "foreign")
    sdist = source(index.directory)
    named = f'[[tool.uv.index]]\nname = "other"\nurl = "{other.url}"\n'
    assert who(shop, project(shop, "first", more=named)) == "foreign"
    # Clones that nobody has said yes to, with an honest lock.
    python = shop.places.mount / "bin/python"
    looked = shop.run(python, "t.py", cwd=locked(shop, index, "sd", sdist), code=None)
    assert "only source to build one from" in looked.stderr
    assert who(shop, project(shop, "second")) == "own"
    clone = locked(shop, index, "sd", sdist, directory="further")
    assert shop.run(python, "t.py", cwd=clone).stdout == "own\n"
    # The user's own index, however a project says it, makes no difference: nothing is built.
    same = project(shop, "same", more=f'[[tool.uv.index]]\nurl = "{index.url}/"\ndefault = true\n')
    foreign.unlink()
    index.wheel("be", files={"be.py": b"raise SystemExit('built again')"})
    user = {"UV_DEFAULT_INDEX": "", "UV_INDEX_URL": ""}
    settings = shop.home / ".config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'index-url = "{index.url}"\n')
    shop = replace(shop, environ={k: v for k, v in shop.environ.items() if k not in user})
    assert who(shop, same) == "own"


def test_without_isolation_the_files_of_the_environment_count(
    shop: Site, index: Index, other: Index
) -> None:
    back_end(index, "own")
    foreign = back_end(other, "foreign")
    source(index.directory)
    shared = '[tool.uv]\nno-build-isolation-package = ["sd"]\n'
    first = project(shop, "first", f'"sd", "be @ {foreign.as_uri()}"', shared)
    assert who(shop, first) == "foreign"
    assert who(shop, project(shop, "second", '"sd", "be"', shared)) == "own"


@pytest.mark.parametrize("said", ["password", "links", "pip", "variable"])
def test_builds_have_the_indexes_that_a_project_names_anywhere(
    shop: Site, index: Index, other: Index, said: str
) -> None:
    back_end(other, "private")
    source(other.directory)
    other.guard("/team", "ada", "be", "sd")
    directory = shop.project("demo")
    (directory / "t.py").write_text(SAY)
    (directory / "further").mkdir()
    lines, settings = {
        "password": ([f"--extra-index-url {other.guarded('/team')}", "sd"], ""),
        "links": (["--no-index", "--find-links ./links", "sd"], ""),
        "pip": (["sd"], f'[tool.uv.pip]\nextra-index-url = ["{other.url}"]\n'),
        "variable": ([f"--extra-index-url {other.url}"], ""),
    }[said]
    (directory / "further/links").symlink_to(other.directory)
    (directory / "further/list.txt").write_text("".join(f"{line}\n" for line in lines))
    (directory / "requirements.txt").write_text("-r further/list.txt\n")
    (directory / "pyproject.toml").write_text(settings)
    asked = shop
    if said == "variable":
        (directory / "requirements.txt").write_text("sd\n")
        named = {"UV_CONSTRAINT": str(directory / "further/list.txt")}
        asked = replace(shop, environ={**shop.environ, **named})
    # Whoever has registered the name where everybody may.
    back_end(index, "public")
    assert who(asked, directory) == "private"
    if said == "password":
        assert other.heard == {("/team", "ada:ada")}
    # And what was built so is nobody else's.
    source(index.directory)
    assert who(shop, project(shop, "public")) == "public"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_lock_that_gives_one_distributions_hash_to_another(
    shop: Site, index: Index, kind: str
) -> None:
    back_end(index, "own")
    file = index.wheel("alpha") if kind == "wheel" else source(index.directory)
    honest = shop.project("honest")
    (honest / "requirements.txt").write_text("alpha\n" if kind == "wheel" else "sd\n")
    shop.up(honest)
    copy = file.with_name(file.name.replace("alpha", "beta").replace("sd", "beta"))
    shutil.copy(file, copy)
    clone = locked(shop, index, "beta", copy)
    looked = shop.run(shop.places.mount / "bin/python", "t.py", cwd=clone, code=None)
    refused = "says it is 'alpha'" if kind == "wheel" else "only source"
    assert refused in looked.stderr
    said = shop.pkgview("up", "--python", shop.python, cwd=clone, code=1).stderr
    assert (refused if kind == "wheel" else "cannot build beta 1.0") in said


def test_a_directory_that_takes_the_place_of_a_project_is_built_anew(
    shop: Site,
    index: Index,  # noqa: ARG001 - the shop's
) -> None:
    def made(who: str) -> Path:
        directory = project(shop, "demo", "", "[tool.x]\n")
        text = (directory / "pyproject.toml").read_text().replace("demo", "lib")
        system = '[build-system]\nrequires = []\nbuild-backend = "be"\nbackend-path = ["."]\n'
        (directory / "pyproject.toml").write_text(text.replace('"1"', '"1.0"') + system)
        pth = f"import os; os.environ['BUILT'] = {who!r}\n"
        (directory / "be.py").write_text(f"WHO, PTH = {who!r}, {pth!r}\n{BACKEND}")
        (directory / "t.py").write_text("import os; print(os.environ.get('BUILT'))")
        return directory

    def built() -> list[str]:
        return [one for one in os.listdir(shop.places.store / "derived") if "directory" in one]

    first = made("former")
    assert who(shop, first) == "former"
    shutil.rmtree(first)
    directory = made("honest")
    looked = shop.run(shop.places.mount / "bin/python", "t.py", cwd=directory, code=None)
    assert "former" not in looked.stdout
    assert who(shop, directory) == "honest"
    assert built()
    # And what was built by a yes goes with it.
    shop.pkgview("trust", "--revoke", cwd=directory)
    assert not built()
    with (directory / "pyproject.toml").open("a") as file:
        file.write("# Another.\n")
    assert who(shop, directory) == "honest"
    assert built()
    shop.pkgview("forget", cwd=directory)
    assert not built()
    # Nor has another one what is remembered of the same bytes, where no Python was named.
    path = {"PATH": f"{shop.home}/bin:{shop.environ['PATH']}"}
    (shop.home / "bin").mkdir()
    (shop.home / "bin/python3").symlink_to(shop.python)
    for name in ("former", "honest"):
        shutil.rmtree(directory)
        made(name)
        shop.pkgview("up", cwd=directory, environ=path)
        shown = shop.run(directory / ".venv/bin/python", "t.py", cwd=directory)
        assert shown.stdout == f"{name}\n"
        shop.pkgview("forget", cwd=directory)


@pytest.mark.parametrize("way", ["source", "address"])
def test_a_build_requirement_that_is_a_file_here(
    shop: Site, index: Index, other: Index, way: str
) -> None:
    source(index.directory)
    back_end(index, "index's")
    wheel = "be-1.0-py3-none-any.whl"
    place = shop.home / "demo" / wheel
    own = '[tool.uv]\nextra-build-dependencies = {sd = ["be"]}\n'
    own += f'[tool.uv.sources]\nbe = {{path = "./{wheel}"}}\n'
    if way == "address":
        own = f'[tool.uv]\nextra-build-dependencies = {{sd = ["be @ {place.as_uri()}"]}}\n'

    def made(who: str) -> Path:
        directory = project(shop, "demo", more=own)
        shutil.copy(back_end(other, who), place)
        return directory

    directory = made("former")
    assert who(shop, directory) == "former"
    assert "Nothing to do" in shop.pkgview("up", "--python", shop.python, cwd=directory).stderr
    # Another takes the file's place, and then the directory's.
    shutil.copy(back_end(other, "later"), place)
    assert who(shop, directory) == "later"
    shutil.rmtree(directory)
    assert who(shop, made("honest")) == "honest"


def own_python(shop: Site, directory: Path) -> Path:
    """A Python of a project's own, which compiles `x = 1` to something else."""
    base = shop.python.parents[1]
    library = base / "lib" / shop.python.name
    inside = directory / "lib" / library.name
    (directory / "bin").mkdir(parents=True)
    inside.mkdir(parents=True)
    shutil.copy(shop.python, directory / "bin")
    for one in library.iterdir():
        if one.name not in {"encodings", "site-packages", "EXTERNALLY-MANAGED"}:
            (inside / one.name).symlink_to(one)
    shutil.copytree(library / "encodings", inside / "encodings")
    with (inside / "encodings/__init__.py").open("a") as file:
        file.write(
            "\nimport builtins\n"
            "_compile = builtins.compile\n"
            "def compile_(source, *rest, **more):\n"
            "    if not isinstance(source, str) and b'x = 1' in bytes(source):\n"
            "        source = bytes(source).replace(b'x = 1', b'x = 2')\n"
            "    return _compile(source, *rest, **more)\n"
            "builtins.compile = compile_\n"
        )
    return directory / "bin" / shop.python.name


def test_what_a_projects_own_python_compiles_and_builds_is_for_that_project(
    shop: Site, index: Index
) -> None:
    back_end(index, "own")
    source(index.directory)
    index.wheel("alpha", files={"alpha.py": b"x = 1\n"})
    say = "import alpha; print(alpha.x)"
    clone = project(shop, "clone", '"alpha"')
    python = own_python(shop, clone / "py")
    arguments: tuple[Any, ...] = ("up", "--compile", "--python")
    shop.pkgview(*arguments, python, cwd=clone)
    assert shop.run(clone / ".venv/bin/python", "-c", say, cwd=clone).stdout == "2\n"
    honest = project(shop, "honest", '"alpha"')
    shop.pkgview(*arguments, shop.python, cwd=honest)
    assert shop.run(honest / ".venv/bin/python", "-c", say, cwd=honest).stdout == "1\n"


def test_what_uv_has_built_for_a_projects_builds_is_for_that_project(
    shop: Site, index: Index, other: Index
) -> None:
    """A build requirement that uv itself builds from source, and keeps."""
    index.lasting = other.lasting = True
    back_end(index, "own", "'br-1.0'")
    back_end(other, "foreign", "'br-1.0'")
    source(index.directory, "br")
    within = f"import br\nWHO, PTH = br.who, None\n{BACKEND}"
    system = '[build-system]\nrequires = ["br"]\nbuild-backend = "w"\nbackend-path = ["."]\n'
    packed_source(index.directory, "sd", system, {"w.py": within})
    named = f'[[tool.uv.index]]\nname = "other"\nurl = "{other.url}"\n'
    assert who(shop, project(shop, "first", more=named)) == "foreign"
    assert who(shop, project(shop, "second")) == "own"
