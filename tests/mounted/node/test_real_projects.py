"""Packages of the registry that npm is set to: a view and `npm ci --ignore-scripts` are one tree.

`PKGVIEW_TEST_ALL=1` takes the large ones, too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from resolver.node.project import WRITABLE
from tests.mounted.node.conftest import tree

if TYPE_CHECKING:
    from tests.mounted.node.conftest import Workshop

pytestmark = [pytest.mark.fuse, pytest.mark.network]

SMALL: dict[str, dict[str, Any]] = {
    "server": {
        "dependencies": {"express": "^4.19.2", "lodash3": "npm:lodash@3.10.1"},
        "devDependencies": {"mocha": "^10.4.0", "@types/node": "^20.0.0"},
    },
    "native": {"dependencies": {"sharp": "0.33.5"}, "optionalDependencies": {"fsevents": "^2.3.0"}},
}
LARGE: dict[str, dict[str, Any]] = {
    "bundled": {"dependencies": {"npm": "10.9.0", "@babel/core": "^7.0.0"}},
    "page": {
        "dependencies": {"react": "^18.3.1", "react-dom": "^18.3.1"},
        "devDependencies": {
            "@types/react": "^18.3.3", "@vitejs/plugin-react": "^4.3.1", "eslint": "^9.9.0",
            "jest": "^29.7.0", "jsdom": "^25.0.0", "prettier": "^3.3.0", "storybook": "^8.2.0",
            "typescript": "^5.5.3", "typescript-eslint": "^8.0.1", "vite": "^5.4.1",
            "vitest": "^2.1.0", "webpack": "^5.90.0", "webpack-cli": "^5.1.0",
        },
    },
    "monorepo": {
        "workspaces": ["packages/*"],
        "devDependencies": {"turbo": "^2.0.0", "typescript": "^5.5.3"},
        "members": {
            "one": {"dependencies": {"chalk": "^4.0.0", "two": "*"}},
            "two": {"dependencies": {"chalk": "^5.0.0", "semver": "^6.0.0"}},
        },
    },
}  # fmt: skip
EVERY = os.environ.get("PKGVIEW_TEST_ALL") == "1"


@pytest.mark.parametrize("name", [*SMALL, *(LARGE if EVERY else ())])
def test_the_tree_is_npms(name: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry")
    manifest = dict((SMALL | LARGE)[name])
    members = manifest.pop("members", {})
    project = workshop.project(name, **manifest)
    for member, its in members.items():
        workshop.write(project / "packages" / member, its)
    workshop.pkgview("up", cwd=project)
    copy = workshop.by_npm(project)
    for inside in ("", *(f"packages/{member}" for member in members)):
        if not (copy / inside / "node_modules").exists():
            assert not os.path.lexists(project / inside / "node_modules")
            continue
        own = tree(project / inside / "node_modules")
        assert {path: one for path, one in own.items() if path not in WRITABLE} == tree(
            copy / inside / "node_modules"
        )
    listed = workshop.run("npm", "ls", "--all", cwd=project)
    assert listed == workshop.run("npm", "ls", "--all", cwd=copy).replace(str(copy), str(project))
