"""What `pkgview up` makes of a lock of npm's, beside what npm makes of it."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from resolver.node.project import WRITABLE
from tests.mounted.node.conftest import Workshop, tarball, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.fuse

COMMAND = ("#!/usr/bin/env node\nconsole.log('run', ...process.argv.slice(2))\n", 0o644)


def stocked(workshop: Workshop) -> Path:
    """A project with one of everything that npm knows."""
    publish = workshop.registry.publish
    publish("inner", "1.0.0")
    publish("inner", "2.0.0")
    publish("outer", "1.0.0", dependencies={"inner": "^1.0.0"})
    publish("outer-too", "1.0.0", dependencies={"inner": "^1.0.0"})
    publish("@scope/thing", "3.1.0", {"lib/x.mjs": "export default 3\n"}, exports="./lib/x.mjs")
    publish("tool", "1.0.0", {"cli.js": COMMAND}, bin={"tool": "cli.js", "none": "./missing.js"})
    publish("tool-b", "1.0.0", {"b.js": COMMAND}, bin={"tool": "b.js", "b": "./b.js"})
    publish("windows", "1.0.0", {"w": ("#!/bin/sh\r\necho w\r\n", 0o755)}, bin="w")
    publish("elsewhere", "1.0.0", os=["win32"], dependencies={"only-there": "1.0.0"})
    publish("only-there", "1.0.0")
    publish("old-node", "1.0.0", engines={"node": "<4"})
    publish("musl", "1.0.0", os=["linux"], cpu=["x64", "arm64"], libc=["musl"])
    publish("glibc", "1.0.0", os=["linux"], libc=["glibc"])
    publish("plugin", "1.0.0", peerDependencies={"host": ">=1", "maybe": "*"},
            peerDependenciesMeta={"maybe": {"optional": True}})  # fmt: skip
    publish("host", "1.2.0")
    publish("script", "1.0.0", scripts={"postinstall": "touch MARK; touch ../../MARK"})
    publish("tester", "1.0.0", dependencies={"inner": "^2.0.0"})
    publish(
        "bundler", "1.0.0",
        {
            "index.js": "module.exports = require('held')\n",
            "node_modules/held/package.json": json.dumps(
                {"name": "held", "version": "0.1.0", "bin": {"held": "h.js"}}
            ),
            "node_modules/held/index.js": "module.exports = 'held'\n",
            "node_modules/held/h.js": COMMAND,
        },
        dependencies={"held": "0.1.0"}, bundleDependencies=["held"],
    )  # fmt: skip
    project = workshop.project(
        dependencies={
            "outer": "^1.0.0", "outer-too": "^1.0.0", "inner": "^2.0.0", "@scope/thing": "3.1.0",
            "tool": "*", "tool-b": "*", "windows": "*", "again": "npm:inner@1.0.0",
            "plugin": "1.0.0", "bundler": "*", "script": "*", "near": "file:tools/near",
            "packed": "file:packed-1.0.0.tgz",
        },
        devDependencies={"tester": "*"},
        optionalDependencies={
            "elsewhere": "*", "old-node": "*", "musl": "*", "glibc": "*",
        },
        workspaces=["packages/*"],
    )  # fmt: skip
    workshop.write(project / "tools/near", {"version": "0.5.0"})
    (project / "tools/near/index.js").write_text("module.exports = require('inner')\n")
    workshop.write(project / "packages/one", {"dependencies": {"inner": "^1.0.0"}})
    (project / "packages/one/index.js").write_text("module.exports = require('inner')\n")
    workshop.write(project / "packages/two", {"bin": {"two": "two.js"}})
    (project / "packages/two/two.js").write_text(COMMAND[0])
    (project / "packages/two/two.js").chmod(0o755)
    packed = tarball({"name": "packed", "version": "1.0.0"}, {"index.js": ("", 0o600)})
    (project / "packed-1.0.0.tgz").write_bytes(packed)
    return project


def test_the_tree_is_npms(workshop: Workshop) -> None:
    project = stocked(workshop)
    said = workshop.pkgview("up", cwd=project)
    assert f"npm made {project}/package-lock.json." in said
    assert "Install scripts were not run: script 1.0.0." in said
    assert f"Linked {project}/node_modules." in said
    copy = workshop.by_npm(project)

    own = tree(project / "node_modules")
    for name in WRITABLE:
        kind, where = own.pop(name)
        assert kind == "link"
        assert not os.path.lexists(os.path.normpath(project / "node_modules" / str(where)))
        assert (project / "node_modules" / name).is_dir()
    assert own == tree(copy / "node_modules")
    member = tree(project / "packages/one/node_modules")
    assert {k: v for k, v in member.items() if k not in WRITABLE} == tree(
        copy / "packages/one/node_modules"
    )
    assert {"elsewhere", "only-there", "old-node", "musl"}.isdisjoint(own)
    assert not (project / "MARK").exists()
    assert not (project / "node_modules/script/MARK").exists()

    # What is looked up, as CommonJS and as a module; nothing that the lock does not list.
    looked_up = (
        "console.log(require('inner'), require('outer'), require('again'), require('bundler'),"
        " require('near'), require('./packages/one'))"
    )
    node = workshop.run("node", "-e", looked_up, cwd=project)
    assert node == "inner@2.0.0 outer@1.0.0 inner@1.0.0 held inner@2.0.0 inner@1.0.0\n"
    module = "import x from '@scope/thing'; import i from 'inner'; console.log(x, i)"
    esm = workshop.run("node", "--input-type=module", "-e", module, cwd=project)
    assert esm == "3 inner@2.0.0\n"
    workshop.run("node", "-e", "require('only-there')", cwd=project, status=1)

    # No two paths are one file, though one archive is at several places.
    places = [project / f"node_modules/{name}/node_modules" for name in ("outer", "outer-too")]
    assert all((one / "inner/index.js").is_file() for one in places)
    paths = list((project / "node_modules").resolve().rglob("*"))
    assert len({path.lstat().st_ino for path in paths}) == len(paths) > 30
    assert all((one / "inner/..").samefile(one) for one in places)

    # npm's own commands, also after a member was edited: what is there is believed.
    (project / "packages/one/new.js").write_text("")
    assert workshop.run("npm", "ls", "--all", cwd=project) == workshop.run(
        "npm", "ls", "--all", cwd=copy
    ).replace(str(copy), str(project))
    assert workshop.run("npx", "tool", "x", cwd=project) == "run x\n"
    assert workshop.run("npx", "two", cwd=project) == "run\n"
    assert workshop.pkgview("run", "--", "held", cwd=project / "packages", status=127)
    assert workshop.pkgview("run", "--", "b", "y", cwd=project / "packages") == "run y\n"


def test_what_moves_is_new_where_it_comes(workshop: Workshop, needs: Callable[..., None]) -> None:
    """In an ordinary upgrade: what is newest at one place was known from another one before."""
    needs("make")
    publish = workshop.registry.publish
    for version, text in (("1.0.0", "old"), ("2.0.0", "new")):
        publish("inner", version, {"x.css": text, "same.css": "same"})
        publish(f"outer{version[0]}", "1.0.0", dependencies={"inner": version})
    project = workshop.project(dependencies={"inner": "1.0.0", "outer2": "1.0.0"})
    (project / "Makefile").write_text("out.css: node_modules/inner/x.css\n\tcp $< $@\n")
    source, nested = (
        project / f"node_modules/{at}inner/x.css" for at in ("", "outer2/node_modules/")
    )

    def made() -> str:
        workshop.run("make", cwd=project)
        workshop.run("cp", "-uL", str(source), "copy.css", cwd=project)
        (copied,) = {(project / name).read_text() for name in ("out.css", "copy.css")}
        return copied

    workshop.pkgview("up", cwd=project)
    assert (made(), nested.read_text()) == ("old", "new")
    same = source.with_name("same.css").stat().st_ino
    needed = {"inner": "2.0.0", "outer1": "1.0.0", "outer2": "1.0.0"}
    workshop.write(project, {"dependencies": needed})
    workshop.pkgview("up", cwd=project)
    assert made() == "new"
    # What is as it was at that place is the same file.
    assert source.with_name("same.css").stat().st_ino == same


def test_what_is_left_out(workshop: Workshop) -> None:
    project = stocked(workshop)
    workshop.pkgview("up", "--omit", "dev", "--omit", "optional", cwd=project)
    copy = workshop.by_npm(project, "--omit=dev", "--omit=optional")
    own = tree(project / "node_modules")
    assert {k: v for k, v in own.items() if k not in WRITABLE} == tree(copy / "node_modules")
    assert {"tester", "glibc"}.isdisjoint(own)
    # Who runs something repeats the last `up`; the next `up` does not, and says so.
    workshop.pkgview("run", "--", "tool", cwd=project)
    assert not (project / "node_modules/tester").exists()
    said = workshop.pkgview("up", cwd=project)
    assert "Without --omit dev --omit optional, which the last `up` had" in said
    assert (project / "node_modules/tester").is_dir()
    (project / ".npmrc").write_text("omit[]=dev\n")
    workshop.pkgview("up", cwd=project)
    assert not (project / "node_modules/tester").exists()


def test_a_repository_at_a_commit(workshop: Workshop) -> None:
    source = workshop.home / "source"
    workshop.write(source, {"files": ["kept.js"], "scripts": {"prepare": "touch kept.js MARK"}})
    (source / "kept.js").write_text("module.exports = 1\n")
    (source / "left.js").write_text("")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        workshop.run("git", *words, cwd=source)
    project = workshop.project(dependencies={"source": f"git+file://{source}"})
    workshop.pkgview("up", cwd=project)
    own = tree(project / "node_modules")
    copy = workshop.by_npm(project)
    assert {k: v for k, v in own.items() if k not in WRITABLE} == tree(copy / "node_modules")
    assert "source/kept.js" in own
    assert "source/left.js" not in own


def test_tools_that_write(workshop: Workshop) -> None:
    workshop.registry.publish("a", "1.0.0")
    project = workshop.project(dependencies={"a": "*"}, pkgview={"writable": [".parcel"]})
    workshop.pkgview("up", cwd=project)
    write = (
        "const fs = require('fs');"
        "for (const n of ['.cache/x', '.vite/deps', '.parcel'])"
        " { fs.mkdirSync('node_modules/' + n, {recursive: true});"
        "   fs.writeFileSync('node_modules/' + n + '/f', n) }"
        "try { fs.writeFileSync('node_modules/a/index.js', '') } catch (e) { console.log(e.code) }"
    )
    assert workshop.run("node", "-e", write, cwd=project) == "EROFS\n"
    assert (project / "node_modules/.cache/x/f").read_text() == ".cache/x"
    # It is the project's own, and outlives a view.
    other = workshop.project("other", dependencies={"a": "*"})
    workshop.pkgview("up", cwd=other)
    assert list((other / "node_modules/.cache").iterdir()) == []
    workshop.registry.publish("a", "1.1.0")
    workshop.pkgview("up", "--upgrade", cwd=project)
    assert (project / "node_modules/.cache/x/f").read_text() == ".cache/x"
    written = (project / "node_modules/.cache").resolve()
    assert workshop.places.cache in written.parents
    # Who removes the cache has empty ones again.
    workshop.run("rm", "-rf", str(workshop.places.cache), cwd=project)
    workshop.pkgview("up", cwd=project)
    assert list((project / "node_modules/.cache").iterdir()) == []
    workshop.pkgview("forget", cwd=project)
    assert not written.exists()

    broken = workshop.project("broken", dependencies={"a": "*"}, pkgview={"writable": ["a"]})
    assert "pkgview.writable lists ['a']" in workshop.pkgview("up", cwd=broken, status=1)


def test_what_is_optional_and_cannot_be_fetched(workshop: Workshop) -> None:
    """It is left out with what only it needs, as by npm, and tried again."""
    publish = workshop.registry.publish
    publish("plain", "1.0.0", engines={"node": ">=99"})
    publish("extra", "1.0.0", dependencies={"below": "1.0.0", "plain": "1.0.0"})
    publish("below", "1.0.0")
    project = workshop.project(
        dependencies={"plain": "1.0.0"}, optionalDependencies={"extra": "1.0.0"}
    )
    workshop.run("npm", "install", "--package-lock-only", cwd=project)
    whole = dict(workshop.registry.tarballs)
    del workshop.registry.tarballs["/extra/-/extra-1.0.0.tgz"]
    said = workshop.pkgview("up", "--locked", cwd=project, status=1)
    assert "extra-1.0.0.tgz is not at" in said
    said = workshop.pkgview("up", cwd=project)
    assert "Without extra 1.0.0, which is optional: extra-1.0.0.tgz is not at" in said
    assert "For another Node than " in said
    assert "plain 1.0.0 (>=99)." in said
    copy = workshop.by_npm(project)

    def names(top: Path) -> set[str]:
        return {path.name for path in (top / "node_modules").iterdir()} - set(WRITABLE)

    assert names(project) == names(copy) == {"plain", ".package-lock.json"}
    assert "Nothing to do" in workshop.pkgview("up", "--frozen", cwd=project)
    # Not had is one thing, and other bytes are another.
    workshop.registry.tarballs["/extra/-/extra-1.0.0.tgz"] = whole["/plain/-/plain-1.0.0.tgz"]
    assert "extra" in workshop.pkgview("up", cwd=project, status=1)
    workshop.registry.tarballs |= whole
    assert " + extra 1.0.0" in workshop.pkgview("up", cwd=project)
    assert names(project) == {"plain", "extra", "below", ".package-lock.json"}
    assert "Nothing to do" in workshop.pkgview("up", cwd=project)
    # In the store are those of before; what is asked of the network is not.
    publish("extra", "2.0.0")
    workshop.write(project, {"dependencies": {"plain": "1.0.0"},
                             "optionalDependencies": {"extra": "2.0.0"}})  # fmt: skip
    shutil.rmtree(copy)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("node_modules"))
    workshop.run("npm", "install", "--package-lock-only", cwd=copy)
    shutil.copy(copy / "package-lock.json", project)
    said = workshop.pkgview("up", "--offline", cwd=project)
    assert "Without extra 2.0.0, which is optional: it is not in the store." in said
    # A required one is an error, and so is another Node where npm is told to be strict.
    del workshop.registry.tarballs["/plain/-/plain-1.0.0.tgz"]
    (project / ".npmrc").write_text("engine-strict=true\n")
    said = workshop.pkgview("up", cwd=project, status=1)
    assert "For another Node than" in said
