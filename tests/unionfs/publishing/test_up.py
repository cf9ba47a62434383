"""From a project to its view and back to nothing to do, in this process and without a mount."""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.manifest import LayerSpec, ViewId
from resolver.project import resolved
from resolver.project.resolved import ResolvedView
from resolver.python.declared.lists import Names
from resolver.python.index import DownloadSettings
from resolver.python.project import find_project
from unionfs.cli.progress import Display
from unionfs.formats.python.certificates import certificates
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.wish import PythonWish
from unionfs.publishing import up
from unionfs.publishing.up import known_view, make_view, preferred
from unionfs.view.catalog import manifest_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resolver.places import Places
    from tests.unionfs.conftest import WheelMaker


@pytest.fixture
def locked(tmp_path: Path, wheel_maker: WheelMaker) -> Path:
    """A project whose pylock.toml names one local wheel, `demo 1.0`."""
    directory = tmp_path / "project"
    directory.mkdir()
    wheel = wheel_maker.write()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (directory / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{wheel.name}", path = "{wheel}", '
        f'hashes = {{ sha256 = "{digest}" }} }}]\n'
    )
    return directory


def wish_for(directory: Path) -> PythonWish:
    project = find_project(directory)
    assert project is not None
    return PythonWish(project=project, offline=True)


def made_view(places: Places, wish: PythonWish) -> up.Made:
    with Display(quiet=True) as display:
        return make_view(places, KIND, wish, display)


def test_what_was_made_is_known(isolated_places: Places, locked: Path) -> None:
    wish = wish_for(locked)
    assert known_view(isolated_places, KIND, wish) is None
    made = made_view(isolated_places, wish)
    assert made.fresh
    assert [layer.name for layer in made.manifest.layers] == ["", "demo"]
    known = known_view(isolated_places, KIND, wish)
    assert known == replace(made, fresh=False)
    again = made_view(isolated_places, wish)
    assert not again.fresh
    assert again.view == made.view


def test_what_changed_is_not_known(isolated_places: Places, locked: Path) -> None:
    wish = wish_for(locked)
    made_view(isolated_places, wish)
    assert known_view(isolated_places, KIND, replace(wish, lists=Names(extras=("x",)))) is None
    assert known_view(isolated_places, KIND, replace(wish, lists=Names(groups=("x",)))) is None
    assert known_view(isolated_places, KIND, replace(wish, upgrade=True)) is None
    assert known_view(isolated_places, KIND, replace(wish, requirements=("x",))) is None
    with (locked / "pylock.toml").open("a") as file:
        file.write("\n")
    assert known_view(isolated_places, KIND, wish_for(locked)) is None


@pytest.mark.parametrize("what", ["archive", "manifest", "damaged", "registry", "record"])
def test_a_view_that_is_not_whole_is_made_again(
    isolated_places: Places, locked: Path, what: str
) -> None:
    places, wish = isolated_places, wish_for(locked)
    made = made_view(places, wish)
    path = manifest_path(places, made.view)
    if what == "archive":
        (places.store / "archives" / made.manifest.layers[1].archive).unlink()
    elif what == "manifest":
        path.unlink()
    elif what == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    elif what == "registry":
        (places.state / "registry.sqlite3").unlink()
    else:
        (record,) = (places.state / "projects").iterdir()
        record.write_text("{")
    assert known_view(places, KIND, wish) is None
    assert made_view(places, wish).view == made.view
    assert known_view(places, KIND, wish) is not None


def test_a_view_for_one_run_leaves_the_projects_own(isolated_places: Places, locked: Path) -> None:
    wish = wish_for(locked)
    made_view(isolated_places, replace(wish, kept=False))
    assert known_view(isolated_places, KIND, wish) is None
    assert not (isolated_places.state / "projects").exists()


def test_a_view_remembers_its_inputs_as_they_were_when_it_began(
    isolated_places: Places, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = wish_for(locked)
    layers = up._layers

    async def edited(*arguments: Any) -> Sequence[LayerSpec]:  # noqa: ANN401 - passed on
        with (locked / "pylock.toml").open("a") as file:
            file.write("# edited while it was being read\n")
        return await layers(*arguments)

    monkeypatch.setattr(up, "_layers", edited)
    made_view(isolated_places, wish)
    assert known_view(isolated_places, KIND, wish_for(locked)) is None


def test_records_of_two_pythons_do_not_forget_each_other(isolated_places: Places) -> None:
    def made(python: str, digit: str) -> ResolvedView:
        return ResolvedView(
            kind="python", variant=python, view=ViewId(digit * 32), fingerprint=digit
        )

    assert up._record(isolated_places, "/p", "", made("3.11", "1"))
    assert up._record(isolated_places, "/p", "", made("3.12", "2"))
    assert not up._record(isolated_places, "/p", "", made("3.11", "1"))
    assert up._record(isolated_places, "/p", "", made("3.11", "3"))
    views = resolved.load(isolated_places.state / "projects", "/p").views
    assert [(view.variant, view.view[0]) for view in views] == [("3.12", "2"), ("3.11", "3")]


def test_preferred_first_in_that_order() -> None:
    layers = [LayerSpec(archive=name, grafts=(), name=name) for name in "abcd"]
    assert [layer.name for layer in preferred(layers, ("d", "nosuch", "b"))] == ["d", "b", "a", "c"]


@pytest.mark.parametrize("seen", [KeyboardInterrupt(), ZeroDivisionError()])
def test_what_nobody_foresaw_counts_most(seen: BaseException) -> None:
    inner = BaseExceptionGroup("inner", [PkgviewError("one"), seen])
    with pytest.raises(type(seen)), single_failure():
        raise BaseExceptionGroup("outer", [PkgviewError("two"), inner])


def test_of_failures_the_first_is_said() -> None:
    inner = BaseExceptionGroup("inner", [PkgviewError("one"), PkgviewError("two")])
    with pytest.raises(PkgviewError, match="one"), single_failure():
        raise BaseExceptionGroup("outer", [inner, PkgviewError("three")])
    with pytest.raises(PkgviewError, match="alone"), single_failure():
        raise PkgviewError("alone")


def test_certificates_of_pips_settings(tmp_path: Path) -> None:
    assert certificates(DownloadSettings()) is None
    file = tmp_path / "x.pem"
    assert certificates(DownloadSettings(certificates=file)) == file
    directory = DownloadSettings(certificate_directory=tmp_path)
    assert isinstance(certificates(directory), ssl.SSLContext)
    with pytest.raises(PkgviewError, match=r"nosuch\.pem"):
        certificates(DownloadSettings(client_certificate=tmp_path / "nosuch.pem"))


@pytest.mark.parametrize("own", [None, "http_proxy"])
def test_a_proxy_that_only_pip_knows(
    isolated_places: Places, locked: Path, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example:3128")
    if own:
        monkeypatch.setenv(own, "http://other.example:1")
    settings = KIND.making(isolated_places, wish_for(locked)).settings()
    assert settings.proxy == (None if own else "http://proxy.example:3128")
