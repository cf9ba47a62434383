"""An npm registry on loopback, and projects whose packages come from it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from tests.mounted.conftest import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from resolver.places import Places

File = str | tuple[str, int]
"""A file's content, or its content and mode."""


def tarball(manifest: Mapping[str, Any], files: Mapping[str, File]) -> bytes:
    """A package as `npm pack` makes it."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, file in {"package.json": json.dumps(manifest), **files}.items():
            content, mode = (file, 0o644) if isinstance(file, str) else file
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(content.encode()), mode
            tar.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


@dataclass(slots=True)
class Registry:
    """Packages by name; `token` is asked for where it is not "". `asked` are the paths so far."""

    url: str = ""
    token: str = ""
    packages: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    tarballs: dict[str, bytes] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def publish(
        self,
        name: str,
        version: str,
        files: Mapping[str, File] | None = None,
        **fields: Any,  # noqa: ANN401 - JSON
    ) -> None:
        """Add a version; its main file says which it is, unless there are `files`."""
        manifest = {"name": name, "version": version, **fields}
        said = f"module.exports = '{name}@{version}'\n"
        data = tarball(manifest, {"index.js": said} if files is None else files)
        path = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self.tarballs[f"/{path}"] = data
        dist = {"tarball": f"{self.url}{path}", "integrity": integrity(data)}
        scripts = fields.get("scripts", {})
        extra = {"hasInstallScript": True} if {"install", "postinstall"} & set(scripts) else {}
        self.packages.setdefault(name, {})[version] = {**manifest, **extra, "dist": dist}

    def packument(self, name: str) -> bytes | None:
        versions = self.packages.get(name)
        if versions is None:
            return None
        latest = list(versions)[-1]
        return json.dumps(
            {"name": name, "dist-tags": {"latest": latest}, "versions": versions}
        ).encode()


class _Requests(http.server.BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        registry, path = self.registry, unquote(self.path)
        said = self.headers.get("Authorization", "")
        registry.asked.append((path, said))
        if path in registry.elsewhere:
            self.send_response(302)
            self.send_header("Location", registry.elsewhere[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = registry.tarballs.get(path) or registry.packument(path.strip("/"))
        status = 404 if body is None else 200
        if registry.token and said != f"Bearer {registry.token}":
            status, body = 401, b"{}"
        self.send_response(status)
        body = body or b"{}"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """What is known of weaknesses: nothing."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"{}"
        self.send_response(200 if self.path.endswith("/advisories/bulk") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def new_registry() -> Iterator[Callable[[], Registry]]:
    """Makes empty registries."""
    servers = []

    def made() -> Registry:
        registry = Registry()
        handler = type("Requests", (_Requests,), {"registry": registry})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        registry.url = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return registry

    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A home with a registry, where pkgview and npm are run."""

    places: Places
    registry: Registry
    home: Path

    def project(self, name: str = "project", **manifest: Any) -> Path:  # noqa: ANN401 - JSON
        directory = self.home / name
        directory.mkdir(parents=True, exist_ok=True)
        self.write(directory, manifest)
        return directory

    def write(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        named = {"name": directory.name, "version": "1.0.0", **manifest}
        (directory / "package.json").write_text(json.dumps(named, indent=2))

    def pkgview(self, *arguments: str, cwd: Path, status: int = 0) -> str:
        """What it says on stderr and stdout."""
        done = forked().run(arguments, cwd=cwd, environ=os.environ, seconds=120)
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return done.stderr + done.stdout

    def run(self, *words: str, cwd: Path, status: int = 0) -> str:
        """What a program prints."""
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == status, done
        return done.stdout

    def by_npm(self, directory: Path, *options: str) -> Path:
        """A copy of the project with what npm makes of its lock."""
        copy = directory.with_name(f"{directory.name}-npm")
        shutil.rmtree(copy, ignore_errors=True)
        ignored = shutil.ignore_patterns("node_modules", ".git")
        shutil.copytree(directory, copy, ignore=ignored, symlinks=True)
        self.run("npm", "ci", "--ignore-scripts", "--no-audit", *options, cwd=copy)
        return copy


@pytest.fixture
def workshop(
    places: Places,
    tmp_path: Path,
    needs: Callable[..., None],
    new_registry: Callable[[], Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> Workshop:
    needs("node", "npm")
    registry = new_registry()
    for name in [name for name in os.environ if name.lower().startswith("npm_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("npm_config_registry", registry.url)
    monkeypatch.setenv("npm_config_update_notifier", "false")
    return Workshop(places=places, registry=registry, home=tmp_path / "work")


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    """Each path below a directory with all that two trees may differ in."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(top):
        for path in (Path(directory, name) for name in (*directories, *files)):
            status = path.lstat()
            inside = os.path.relpath(path, top)
            if stat.S_ISLNK(status.st_mode):
                found[inside] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[inside] = ("directory",)
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[inside] = ("file", stat.S_IMODE(status.st_mode), digest)
    return found


def without_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PATH with Node, and no npm."""
    directory = tmp_path / "path"
    directory.mkdir()
    for name in ("node", "fusermount3", "git"):
        for place in os.environ["PATH"].split(os.pathsep):
            if (Path(place) / name).exists() and not (directory / name).is_symlink():
                (directory / name).symlink_to(Path(place) / name)
    monkeypatch.setenv("PATH", os.fspath(directory))
