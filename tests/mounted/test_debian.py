"""`pkgview run --deb`: packages of a local repository, resolved by the machine's apt."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.unionfs.formats.deb.debs import FIRST, archive, data, member
from tests.unionfs.formats.npm.tarballs import header, part, stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.mounted.conftest import Site

pytestmark = pytest.mark.fuse

SCRIPT = b"#!/bin/sh\ncat /usr/share/pkgview-test/said\n"
CHOICE = (
    b"#!/bin/sh\nupdate-alternatives --install /usr/bin/pkgview-test-choice pkgview-test-choice "
    b"/usr/bin/pkgview-test 10\n"
)


def package(at: Path, name: str, *entries: bytes, depends: str = "", script: bytes = b"") -> str:
    """Write a package; what an index says of it."""
    control = f"Package: {name}\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: x <x@y>\n"
    control += f"Depends: {depends}\n" * bool(depends) + "Description: for a test\n"
    scripts = [part("./postinst", script, mode=0o755)] if script else []
    content = archive(
        FIRST,
        member("control.tar", stream((part("./control", control.encode()), *scripts))),
        data(*entries),
    )
    filename = f"{name}_1.0-1_all.deb"
    (at / filename).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{filename}\nSize: {len(content)}\nSHA256: {digest}\n\n"


@pytest.fixture
def repository(tmp_path: Path, needs: Callable[..., None]) -> Path:
    needs("apt-get")
    at = tmp_path / "repository"
    at.mkdir()
    program = part("./bin/pkgview-test", SCRIPT, mode=0o4755).to_bytes()
    said = part("./usr/share/pkgview-test/said", b"said\n").to_bytes()
    hostile = header("./usr/x", 0, kind=b"2", target=b"../../etc/passwd")
    (at / "Packages").write_text(
        package(at, "pkgview-test", program, depends="pkgview-test-data", script=CHOICE)
        + package(at, "pkgview-test-data", said)
        + package(at, "pkgview-test-hostile", hostile)
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{at} ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "-";\n'
    )
    return at


def ran(site: Site, repository: Path, *words: str, code: int = 0) -> CompletedProcess[str]:
    environ = {"APT_CONFIG": str(repository.parent / "apt.conf")}
    return site.pkgview("run", "--deb", *words, cwd=repository.parent, environ=environ, code=code)


def test_a_package_for_one_run(site: Site, repository: Path) -> None:
    done = ran(site, repository, "pkgview-test", "--", "pkgview-test")
    assert done.stdout == "said\n"
    assert "set-user-id and set-group-id are dropped of bin/pkgview-test" in done.stderr

    # From the lock and the store alone; with what is the user's own as ever.
    for path in repository.iterdir():
        path.unlink()
    look = (
        "pkgview-test-choice; id -u; stat -c %a /usr/bin/pkgview-test; echo x > written; "
        "touch /usr/bin/pkgview-test-new || echo refused; ls /usr/bin | wc -l"
    )
    done = ran(site, repository, "pkgview-test", "--", "sh", "-c", look)
    choice, user, mode, refused, count = done.stdout.split()
    assert (choice, user, mode, refused) == ("said", str(os.geteuid()), "755", "refused")
    assert int(count) >= len(os.listdir("/usr/bin"))
    assert (repository.parent / "written").read_text() == "x\n"
    assert not os.path.lexists("/usr/bin/pkgview-test")

    absent = ran(site, repository, "pkgview-test-absent", "--", "true", code=1)
    assert "pkgview-test-absent: apt-get: Unable to locate package" in absent.stderr


def test_a_hostile_package_is_named(site: Site, repository: Path) -> None:
    done = ran(site, repository, "pkgview-test-hostile", "--", "true", code=1)
    assert (
        "pkgview-test-hostile_1%3a1.0-1_all.deb is refused: './usr/x' is a link out" in done.stderr
    )
