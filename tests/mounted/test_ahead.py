"""Processes that begin before they are asked for: what they do has been imported by then."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mounted.conftest import Site

pytestmark = pytest.mark.fuse

COMMANDS = """
import json, os, sys
from unionfs.cli import served
before = set(sys.modules)
try: served.serve(sys.argv[1:])
except SystemExit: pass
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_what_a_new_view_needs_was_imported_before(site: Site) -> None:
    project = site.project("new")
    (project / "requirements.txt").write_text("")
    said = site.run(sys.executable, "-c", COMMANDS, "up", "--no-mount", cwd=project)
    late = json.loads(said.stdout.splitlines()[-1])
    assert [name for name in late if name.startswith(("resolver", "unionfs"))] == []
    assert len(late) < 10
