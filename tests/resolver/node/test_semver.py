"""Ranges of versions, beside npm's own reader of them."""

from __future__ import annotations

import json
import subprocess
from itertools import product
from typing import TYPE_CHECKING

import pytest

from resolver.node.hidden import collated
from resolver.node.semver import parse, satisfies

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = [
    "0.0.0", "0.0.1", "0.0.2", "0.1.0", "0.1.5", "0.2.0", "1.0.0", "1.0.1", "1.1.0", "1.2.3",
    "1.9.9", "2.0.0", "2.0.1", "10.0.0", "20.20.2", "0.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1",
    "1.0.0-alpha.beta", "1.0.0-rc.1", "1.0.0-rc.10", "1.0.0-rc.2", "1.2.3-beta.2", "1.2.3-beta.4",
    "1.2.4-beta.2", "2.0.0-0", "2.0.0-rc.1", "1.2.3+build", "v1.2.3", " =v1.2.3 ", "1.2",
    "01.2.3", "1.2.3-01", "a.b.c", "", "9007199254740993.0.0", "0.1.2-0", "0.0.1-0", "1.2.0-0",
    "1.3.0-0", "1.2.3-beta.2+x",
]  # fmt: skip
RANGES = [
    "", "*", "x", "X.x", "1", "1.x", "1.2", "1.2.x", "1.2.3", "=1.2.3", "v1.2.3", "=v1", "^1",
    "^1.2", "^1.2.3", "^0", "^0.0", "^0.0.1", "^0.1", "^0.1.2", "^0.x", "^1.x", "^*", "~1",
    "~1.2", "~1.2.3", "~0", "~0.0.1", "~>1.2", "~ 1.2.3", "^ 1.2", ">1", ">=1", "<1", "<=1",
    ">1.2", ">=1.2", "<1.2", "<=1.2", "> 1.2.3", ">= 1.2.3 <2", ">=1.0.0 <1.9.0 || >=2", "1 || 2",
    "1||2", "|| 2", "1 - 2", "1.0.0 - 1.2", "1.0 - 2.0.0", "1.2.3-beta.2 - 2", "^1.2.3-beta.2",
    "~1.2.3-beta.2", ">1.2.3-beta.2", ">=1.0.0-alpha <1.0.0", "<2.0.0-rc.1", "^1.0.0-0",
    ">=1.0.0-0", "<1.0.0-beta", "^0.0.1-beta", ">*", "<*", ">=*", "<=*", ">x", "1.2.3 1.2.3",
    ">1 <2", "^18.17.0 || ^20.3.0 || >=21.0.0", "latest", "file:../x", "npm:a@1", "1.2.3.4",
    "=>1", ">=1.2.3foo", "1.2.3 foo", "1 -2", "^1.2.3.4", "1.2.3-", "x.1", "1.x.3", "1.*.3",
    "^1.2.3+build", ">= 14", "~> 1.2.3", "==1.2.3", "<=0.0.0-0",
]  # fmt: skip

ASK = """
const semver = require(process.argv[1] + '/node_modules/semver');
const [pairs, texts] = JSON.parse(require('fs').readFileSync(0));
const found = pairs.map(([v, r]) => semver.validRange(r) === null ? null
  : [semver.satisfies(v, r), semver.satisfies(v, r, {includePrerelease: true})]);
console.log(JSON.stringify([found, texts.sort((a, b) => a.localeCompare(b, 'en'))]));
"""

KEYS = [
    "node_modules/a", "node_modules/A", "node_modules/a-b", "node_modules/a_b",
    "node_modules/a.b", "node_modules/ab", "node_modules/@a/b", "node_modules/@A/b",
    "node_modules/a/node_modules/b", "Z", "node_modules/a1", "node_modules/a10",
    "node_modules/a2", "packages/x", "../x", "_x", "~x", "aB", "AB", "ab", "Ab", "JSONStream",
    "jsonparse", "0", "9", "a/b", "a-", "a", "node_modules/a+b",
]  # fmt: skip


def test_npm_reads_them_alike(needs: Callable[..., None]) -> None:
    needs("node", "npm")
    where = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=True)
    pairs = list(product(VERSIONS, RANGES))
    asked = subprocess.run(
        ["node", "-e", ASK, f"{where.stdout.strip()}/npm"],
        input=json.dumps([pairs, KEYS]), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode:
        pytest.skip("npm's own modules are elsewhere here")
    found, ordered = json.loads(asked.stdout)
    wrong = {}
    for (version, wanted), its in zip(pairs, found, strict=True):
        own = [satisfies(version, wanted), satisfies(version, wanted, prereleases=True)]
        theirs = its if its is not None else [None, None]
        if parse(version) is None:
            theirs = [False, False]
        if own != theirs:
            wrong[version, wanted] = (own, theirs)
    assert wrong == {}
    assert sorted(KEYS, key=collated) == ordered
