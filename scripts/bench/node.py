"""node_modules of a large project: pkgview beside `npm ci` and `pnpm install --offline`.

All have everything at hand: npm's cache, pnpm's store and pkgview's hold all packages. No install
scripts are run. pnpm comes from the registry that npm is set to, into the working directory.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.disk import PROJECTS, taken
from scripts.bench.measure import turns
from scripts.bench.work import PKGVIEW, unmount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.bench.bench import Bench
    from scripts.bench.measure import Sheet
    from scripts.bench.work import Work

PNPM = "pnpm@9"

LISTED = Path(__file__).with_name("node.json")
"""What the project lists: some 1,700 packages come of it."""

QUICK = ("express", "typescript", "vite")

NEW = "a project never made before"
MISSING = "node_modules is missing"
CLONE = "a second clone"
DISK = "ten projects"
NAMES = ("npm", "pnpm", "pkgview")


def node(bench: Bench, sheet: Sheet) -> None:
    """Trees made anew, and the disk that they take."""
    site = _Site(bench)
    try:
        for number, name in turns(NAMES, bench.rounds(3), seconds=600):
            new = site.clone(f"{name}-new-{number}", called=f"bench-{number}")
            sheet.add(NEW, name, site.made(name, new))
            # The others' are known by then; pkgview knows this project.
            other = site.clone(f"{name}-other-{number}", called=f"bench-{number}")
            sheet.add(CLONE, name, site.made(name, other))
            _remove(new / "node_modules")
            sheet.add(MISSING, name, site.made(name, new))
            if number == 0:
                files = sum(len(names) for _, _, names in os.walk(new / "node_modules"))
                sheet.note(f"{name}: {files:,} files in node_modules.")
                _weigh(sheet, name, site, new, other)
            shutil.rmtree(new)
            shutil.rmtree(other)
    finally:
        site.close()
    sheet.note(
        f"The disk of {PROJECTS} is told from one and its clone: each further one is taken to need "
        "what the clone did. npm's cache is not counted, the stores of pnpm and pkgview are."
    )


def _weigh(sheet: Sheet, name: str, site: _Site, new: Path, other: Path) -> None:
    store = site.stores.get(name, ())
    first = taken(new, *store)
    further = taken(new, other, *store) - first
    sheet.add(DISK, name, first + (PROJECTS - 1) * further, "B")


class Apart:
    """Where pkgview and npm have everything of theirs apart from other parts."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.mountpoint = work.root / "mnt/node"
        base = work.root / "node"
        settings = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")
        self.env: Mapping[str, str] = {
            **work.env,
            **({"NPM_CONFIG_USERCONFIG": str(settings)} if settings.is_file() else {}),
            "XDG_STATE_HOME": str(work.scratch / "node"),
            "XDG_DATA_HOME": str(base / "data"),
            "PKGVIEW_MOUNT": str(self.mountpoint),
            "npm_config_cache": str(base / "npm-cache"),
            "npm_config_update_notifier": "false",
            "npm_config_audit": "false",
            "npm_config_fund": "false",
            "CI": "1",
        }
        self.base = base

    def close(self) -> None:
        """Nothing stays mounted."""
        self.work.run([PKGVIEW, "umount", "--lazy"], env=self.env)
        unmount(self.mountpoint)


class _Site(Apart):
    """The project's files, and how each contestant makes its tree."""

    def __init__(self, bench: Bench) -> None:
        work = bench.work
        super().__init__(work)
        base = self.base
        self.stores = {
            "pnpm": (base / "pnpm-store",),
            "pkgview": (base / "data/pkgview/store", work.scratch / "node"),
        }
        self._pnpm = self._installed(work)
        listed = json.loads(LISTED.read_text())
        self._project = self._prepared(
            work, {name: listed[name] for name in (QUICK if bench.quick else listed)}
        )

    def _installed(self, work: Work) -> Path:
        def make(path: Path) -> None:
            work.run(["npm", "install", "--prefix", path, PNPM], env=self.env)

        return work.once("pnpm", PNPM, make) / "node_modules/.bin/pnpm"

    def _prepared(self, work: Work, listed: Mapping[str, str]) -> Path:
        """With both locks; what all need of the network is fetched."""
        text = json.dumps({"name": "bench", "version": "1.0.0", "devDependencies": listed})

        def make(path: Path) -> None:
            path.mkdir()
            (path / "package.json").write_text(text)
            quietly = ["--ignore-scripts", "--legacy-peer-deps"]
            work.run(["npm", "install", "--package-lock-only", *quietly], cwd=path, env=self.env)
            work.run([self._pnpm, "import"], cwd=path, env=self.env)
            for name in NAMES:
                directory = path.with_name("node-filling")
                shutil.copytree(path, directory)
                self.made(name, directory, offline=False)
                _remove(directory / "node_modules")
                shutil.rmtree(directory)

        return work.once("node", text, make)

    def clone(self, name: str, *, called: str) -> Path:
        """The project in a directory of its own; by another name it is another view."""
        directory = self.work.scratch / name
        directory.mkdir()
        for file in self._project.iterdir():
            text = file.read_text().replace('"name": "bench"', f'"name": "{called}"')
            (directory / file.name).write_text(text)
        return directory

    def made(self, name: str, directory: Path, *, offline: bool = True) -> float:
        """Seconds until its node_modules is there."""
        if name == "npm":
            command = ["npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--prefer-offline"]
        elif name == "pnpm":
            command = [str(self._pnpm), "install", "--frozen-lockfile", "--ignore-scripts"]
            command += [
                "--store-dir",
                str(self.stores["pnpm"][0]),
                *(["--offline"] if offline else []),
            ]
        else:
            (directory / "pnpm-lock.yaml").unlink(missing_ok=True)
            command = [PKGVIEW, "up", "--trust", *["--offline"][:offline]]
        return self.work.timed(command, cwd=directory, env=self.env)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
