"""Install scripts: whose are run, once, and what becomes of what they make."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.node.conftest import tarball, without_npm

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mounted.node.conftest import Workshop

pytestmark = pytest.mark.fuse

MAKES = "const fs = require('fs'); const path = require('path');\n"
COUNTED = MAKES + (
    "fs.appendFileSync(process.env.MARKS, 'ran\\n');\n"
    "fs.writeFileSync('made.txt', require('inner') + ' ' + process.env.npm_lifecycle_event);\n"
    "fs.mkdirSync('build/empty', {recursive: true}); fs.symlinkSync('../made.txt', 'build/link');\n"
    "fs.symlinkSync(path.resolve('made.txt'), 'build/whole');\n"
    "fs.writeFileSync('build/run', '#!/bin/sh\\necho built\\n', {mode: 0o755});\n"
    "fs.rmSync('removed.js'); fs.appendFileSync('index.js', '// changed\\n');\n"
    "fs.writeFileSync('../stray.txt', '');\n"
)


def stocked(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A project with a package whose script leaves marks, and the file that they are in."""
    marks = workshop.home / "marks"
    marks.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("MARKS", str(marks))
    publish = workshop.registry.publish
    publish("inner", "1.0.0")
    publish("inner", "2.0.0")
    publish(
        "builder", "1.0.0", {"b.js": ("#!/bin/sh\necho builder > by-command\n", 0o755)},
        bin={"builder": "b.js"},
    )  # fmt: skip
    publish(
        "script", "1.0.0",
        {"make.js": COUNTED, "removed.js": "", "index.js": "module.exports = 1\n"},
        scripts={"preinstall": "echo pre > pre", "postinstall": "node make.js && builder"},
        dependencies={"inner": "^1.0.0", "builder": "*"},
    )  # fmt: skip
    return workshop.project(dependencies={"script": "*", "inner": "2"}), marks


def allow(project: Path, **said: object) -> None:
    manifest = json.loads((project / "package.json").read_text()) | said
    (project / "package.json").write_text(json.dumps(manifest))


def test_none_is_run_by_accident(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    project, marks = stocked(workshop, monkeypatch)
    said = workshop.pkgview("up", cwd=project)
    assert "Install scripts were not run: script 1.0.0. Where one is needed: `npm approve" in said
    workshop.pkgview("run", "--", "node", "-e", "require('script')", cwd=project)
    workshop.pkgview("why", "script", cwd=project)
    workshop.pkgview("up", "--upgrade", cwd=project)
    for said_of in (
        {"allowScripts": {"script": False}},
        {"allowScripts": {"script@^1": True}},
        {"allowScripts": {"other": True}, "trustedDependencies": ["script"]},
    ):
        allow(project, **said_of)
        said = workshop.pkgview("up", cwd=project)
    assert "Install scripts were not run: script 1.0.0." in said
    allow(project, allowScripts={"script": True})
    (project / ".npmrc").write_text("ignore-scripts=true\n")
    assert "npm's setting ignore-scripts is on" in workshop.pkgview("up", cwd=project)
    assert not marks.exists()
    assert not (project / "node_modules/script/made.txt").exists()


def test_scripts_of_members_and_files(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project(workspaces=["member", "other"])
    workshop.write(project / "other", {"scripts": {"test": "touch RAN"}})
    workshop.write(project / "member", {"scripts": {"postinstall": "touch RAN"}})
    run = "npm run postinstall --prefix member"
    said = workshop.pkgview("up", cwd=project)
    assert f"Own scripts of member were not run, such as `{run}`." in said
    assert not (project / "member/RAN").exists()
    workshop.run(*run.split(), cwd=project)
    assert (project / "member/RAN").exists()
    # A package from a file is allowed by the key that npm writes, and needs npm for its script.
    project = workshop.project("other", dependencies={"filed": "file:filed.tgz"})
    filed = {"name": "filed", "version": "1.0.0", "scripts": {"install": "touch ran"}}
    (project / "filed.tgz").write_bytes(tarball(filed, {}))
    workshop.pkgview("up", cwd=project)
    allow(project, allowScripts={f"file:{project}/filed.tgz": True})
    with pytest.MonkeyPatch.context() as patched:
        without_npm(patched, tmp_path)
        said = workshop.pkgview("up", cwd=project, status=1)
    assert "cannot run the install scripts of filed 1.0.0: npm does that" in said
    assert "Ran the install scripts of filed 1.0.0." in workshop.pkgview("up", cwd=project)
    assert (project / "node_modules/filed/ran").exists()


def test_what_is_allowed_is_run_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    project, marks = stocked(workshop, monkeypatch)
    allow(project, allowScripts={"script@1.0.0": True}, scripts={"prepare": "touch PREPARED"})
    said = workshop.pkgview("up", cwd=project)
    assert "Ran the install scripts of script 1.0.0." in said
    assert "The project's own prepare was not run: `npm run prepare`." in said
    assert "What script 1.0.0 wrote to node_modules/stray.txt is not kept." in said
    assert marks.read_text() == "ran\n"
    made = project / "node_modules/script"
    assert (made / "made.txt").read_text() == "inner@1.0.0 postinstall"
    assert (made / "by-command").read_text() == "builder\n"
    assert (made / "pre").read_text() == "pre\n"
    assert workshop.run(str(made / "build/run"), cwd=project) == "built\n"
    assert os.readlink(made / "build/whole") == "../made.txt"
    assert (made / "build/link").read_text() == (made / "made.txt").read_text()
    assert list((made / "build/empty").iterdir()) == []
    assert not (made / "removed.js").exists()
    assert (made / "index.js").read_text() == "module.exports = 1\n// changed\n"
    assert (made / "node_modules/inner/index.js").is_file()
    assert not (project / "node_modules/stray.txt").exists()
    # The project's own scripts are not an install's.
    assert not (project / "PREPARED").exists()

    listed = workshop.pkgview("trust", "--list", cwd=project)
    assert f"{project}: trusted\n  may run the install scripts of script@1.0.0\n" in listed

    # As npm has it, but for what lies elsewhere.
    copy = workshop.by_npm(project)
    shutil.rmtree(copy / "node_modules")
    workshop.run("npm", "ci", "--no-audit", cwd=copy)
    by_npm = {
        os.path.relpath(path, copy / "node_modules/script"): path.read_bytes()
        for path in (copy / "node_modules/script").rglob("*") if path.is_file()
    }  # fmt: skip
    own = {
        os.path.relpath(path, made): path.read_bytes() for path in made.rglob("*") if path.is_file()
    }
    assert own == by_npm

    # Another project has what was made; so has who gives up the tarball's archive.
    marks.write_text("")
    other = workshop.project("other", dependencies={"script": "*", "inner": "2"})
    shutil.copy(project / "package-lock.json", other / "package-lock.json")
    allow(other, pnpm={"onlyBuiltDependencies": ["script"]}, name="project")
    workshop.pkgview("gc", cwd=project)
    asked = len(workshop.registry.asked)
    said = workshop.pkgview("up", cwd=other)
    assert "Ran the" not in said
    assert workshop.registry.asked[asked:] == []
    assert (other / "node_modules/script/made.txt").samefile(made / "made.txt")
    assert "Nothing to do" in workshop.pkgview("up", cwd=other)
    # Who does not allow it does not get it.
    third = workshop.project("third", dependencies={"script": "*"})
    workshop.pkgview("up", cwd=third)
    assert not (third / "node_modules/script/made.txt").exists()
    assert marks.read_text() == ""
    workshop.pkgview("store", "verify", cwd=third)

    # What it needs is another one: then it is run anew.
    workshop.registry.publish("inner", "1.1.0")
    workshop.pkgview("up", "--upgrade", cwd=project)
    assert (made / "made.txt").read_text() == "inner@1.1.0 postinstall"
    assert marks.read_text() == "ran\n"


def test_what_tools_build_with_counts(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the user's, and variables: else the first one's would be everybody's."""
    project, marks = stocked(workshop, monkeypatch)
    allow(project, allowScripts={"script": True})
    workshop.pkgview("up", cwd=project)
    clone = workshop.home / "clone"
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns("node_modules"))
    for name, value in (("CFLAGS", "-O9"), ("npm_config_build_from_source", "true")):
        with pytest.MonkeyPatch.context() as context:
            context.setenv(name, value)
            assert "Ran the install scripts of script 1.0.0." in workshop.pkgview("up", cwd=clone)
            assert "Nothing to do" in workshop.pkgview("up", cwd=clone)
    (Path.home() / ".npmrc").write_text("build_from_source=true\n")
    for one in (clone, project):
        assert "Ran the" not in workshop.pkgview("up", cwd=one)
    (Path.home() / ".npmrc").unlink()
    monkeypatch.setenv("UV_NO_BINARY", "1")
    assert "Ran the" not in workshop.pkgview("up", cwd=clone)
    assert marks.read_text() == 3 * "ran\n"


def test_scripts_that_fail(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    _, marks = stocked(workshop, monkeypatch)
    publish = workshop.registry.publish
    publish("broken", "1.0.0", scripts={"install": "echo no compiler >&2; exit 7"})
    project = workshop.project("bad", dependencies={"broken": "*"}, allowScripts={"broken": True})
    said = workshop.pkgview("up", cwd=project, status=1)
    assert "the install script of broken 1.0.0 failed (exit code 7)" in said
    assert "no compiler" in said
    assert not os.path.lexists(project / "node_modules")
    assert list((workshop.places.cache / "builds").iterdir()) == []
    lax = workshop.project(
        "lax", optionalDependencies={"broken": "*"}, allowScripts={"broken": True}
    )
    said = workshop.pkgview("up", cwd=lax)
    assert "It is optional, and stays as it was published." in said
    # One that has another one's hash in the lock is not who was allowed.
    for name in ("broken", "other"):
        publish(name, "1.0.1", scripts={"install": "echo ran >> $MARKS"})
    packages, tarballs = workshop.registry.packages, workshop.registry.tarballs
    tarballs["/broken/-/broken-1.0.1.tgz"] = tarballs["/other/-/other-1.0.1.tgz"]
    there = packages["other"]["1.0.1"]["dist"]["integrity"]
    packages["broken"]["1.0.1"]["dist"]["integrity"] = there
    liar = workshop.project("liar", dependencies={"broken": "1.0.1"}, allowScripts={"broken": True})
    said = workshop.pkgview("up", cwd=liar)
    assert "broken 1.0.1 were not run: its package.json says that it is 'other 1.0.1'" in said
    assert not marks.exists()
    assert (lax / "node_modules/broken/index.js").is_file()


def test_an_addon(
    workshop: Workshop, needs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With node-gyp, which npm has, where the headers of this Node are on the machine."""
    needs("make", "g++")
    node = Path(shutil.which("node") or "").resolve()
    headers = node.parent.parent / "include/node/node_api.h"
    if not headers.is_file():
        pytest.skip(f"{headers} is missing: node-gyp would fetch it")
    source = (
        "#include <node_api.h>\n"
        "static napi_value Init(napi_env env, napi_value exports) {\n"
        "  napi_value seven; napi_create_int32(env, 7, &seven);\n"
        '  napi_set_named_property(env, exports, "seven", seven); return exports; }\n'
        "NAPI_MODULE(addon, Init)\n"
    )
    gyp = "{'targets': [{'target_name': 'addon', 'sources': ['addon.c']}]}"
    publish = workshop.registry.publish
    publish(
        "addon", "1.0.0",
        {"addon.c": source, "binding.gyp": gyp,
         "index.js": "module.exports = require('./build/Release/addon.node')\n"},
    )  # fmt: skip
    publish("plain", "1.0.0")
    monkeypatch.setenv("npm_config_nodedir", str(node.parent.parent))
    # Neither registry nor lock say that it has a script; npm builds what has a binding.gyp.
    project = workshop.project(
        dependencies={"addon": "*", "plain": "*"}, trustedDependencies=["addon", "plain"]
    )
    assert "Ran the install scripts of addon 1.0.0." in workshop.pkgview("up", cwd=project)
    assert workshop.run("node", "-p", "require('addon').seven", cwd=project) == "7\n"
