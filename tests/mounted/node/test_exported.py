"""A view of Node's that was exported: what npm makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.mounted.node.conftest import Workshop, tree
from tests.mounted.node.test_views import stocked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fuse


def test_it_is_what_npm_makes(workshop: Workshop, tmp_path: Path) -> None:
    project = stocked(workshop)
    workshop.run("npm", "install", "--package-lock-only", "--no-audit", cwd=project)
    workshop.pkgview("up", cwd=project)
    copy = workshop.by_npm(project)
    at = copy.with_name("exported")
    (copy / "node_modules").rename(tmp_path / "by-npm")
    said = workshop.pkgview("export", "--node-modules", str(at), cwd=project)
    assert "one is a link to ../packages/one, as the project has it." in said
    assert "packages/one/node_modules, of a member of the workspace, is not exported." in said
    ours, theirs = tree(at), tree(tmp_path / "by-npm")
    assert ours.pop(".pkgview-export")
    assert ours == theirs
    # Beside the project's own files it is used as npm's would be.
    at.rename(copy / "node_modules")
    workshop.pkgview("umount", cwd=project)
    listed = json.loads(workshop.run("npm", "ls", "--json", "--all", cwd=copy))
    assert "problems" not in listed
    assert workshop.run("node", "-p", "require('outer')", cwd=copy).strip() == "outer@1.0.0"
    assert workshop.run(str(copy / "node_modules/.bin/b"), "x", cwd=copy) == "run x\n"
    lock = copy / "node_modules/.package-lock.json"
    above = max(path.stat().st_mtime for path in (copy / "node_modules").rglob("*/"))
    assert lock.stat().st_mtime >= above
    workshop.pkgview("export", "--node-modules", "x", "--at", "/y", cwd=project, status=2)
    workshop.pkgview("export", "--venv", str(tmp_path / "z"), cwd=project, status=1)
