"""A package's install scripts: which it has, and running them, through npm, in a copy.

npm runs each as `npm run` does, so it has all that npm gives to a script: the commands of the
packages it needs on PATH, node-gyp, `npm_…`. INIT_CWD and npm's prefix, by which some scripts find
the project that they are installed in, are the copy: what comes out is for every project.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.node.npm import npm, plain_environ
from resolver.node.npmrc import settings
from resolver.node.start import script_variables
from resolver.running.session import run_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVENTS: Final = ("preinstall", "install", "postinstall")
GYP: Final = "binding.gyp"

_SETTINGS = frozenset({
    "abi", "arch", "build-from-source", "compile", "debug", "devdir", "dist-url", "disturl",
    "fallback-to-build", "force-process-config", "libc", "local-prebuilds", "make", "msvs-version",
    "node-gyp", "node-options", "nodedir", "platform", "prebuild", "python", "release", "runtime",
    "script-shell", "tag-prefix", "tarball", "target", "target-arch", "target-libc",
    "target-platform", "toolset", "update-binary",
})  # fmt: skip
"""Of node-gyp, prebuild-install, node-gyp-build and node-pre-gyp."""

_SUFFIXES = (
    "-binary-host", "-binary-host-mirror", "-binary-site", "-local-prebuilds", "-mirror",
)  # fmt: skip
"""The same for one package: what is before is its name."""

_SHOWN = 20
_SAID = {
    "npm_config_ignore_scripts": "false",
    "npm_config_foreground_scripts": "true",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_progress": "false",
    "npm_config_color": "false",
    "npm_config_logs_max": "0",
}


def install_scripts(data: Mapping[str, Any], *, has_gyp: bool) -> dict[str, str]:
    """Those that npm would run, in their order. `has_gyp`: there is a `GYP` beside package.json."""
    scripts = data.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    found = {one: scripts[one] for one in EVENTS if isinstance(scripts.get(one), str)}
    if has_gyp and data.get("gypfile") is not False and not found.keys() & set(EVENTS[:2]):
        found["install"] = "node-gyp rebuild"
    return {one: found[one] for one in EVENTS if found.get(one)}


def build_settings(environ: Mapping[str, str]) -> list[str]:
    """`NAME=value` of what scripts make something else with, sorted: variables, npm's settings.

    Of those that a project does not say. A script may read any; those count that node-gyp, and
    what fetches a built file instead, read for whatever package.
    """
    found = {
        name.lower().replace("_", "-"): value
        for name, value in settings(None, environ).values.items()
    }
    said = (
        f"{name}={masked(value)}"
        for name, value in found.items()
        if value and (name in _SETTINGS or name.endswith(_SUFFIXES))
    )
    return sorted((*said, *script_variables(environ)))


async def run_scripts(
    directory: Path, scripts: Mapping[str, str], *, title: str, offline: bool
) -> None:
    """Run them in a package's directory; `PkgviewError` with what they said last. Cancellable."""
    manifest = directory / "package.json"
    own = manifest.read_bytes()
    data = json.loads(own.decode("utf-8-sig"))
    named = data.setdefault("scripts", {})
    lent = named.get("install") != scripts.get("install")  # npm lends it where there is none
    if lent:
        named["install"] = scripts["install"]
        manifest.write_text(json.dumps(data))
        lent_bytes = manifest.read_bytes()
    # `npm run install` runs what is before and after it, too.
    program = npm(
        f"cannot run the install scripts of {title}",
        otherwise="Without them: set the package to false in allowScripts of package.json.",
    )
    for event in ["install"] if "install" in scripts else scripts:
        command = [program, "run", event]
        environ = plain_environ() | _SAID | ({"npm_config_offline": "true"} if offline else {})
        code, stdout, stderr = await run_session(command, cwd=directory, environ=environ)
        if code:
            raise _failed(title, event, code, [*stdout.splitlines(), *stderr.splitlines()])
    if lent and manifest.read_bytes() == lent_bytes:
        manifest.write_bytes(own)


def _failed(title: str, event: str, code: int, said: Sequence[str]) -> PkgviewError:
    lines = [
        line.rstrip()
        for line in said
        if line.strip() and not line.startswith(("npm warn", "npm notice", "npm error", "> "))
    ]
    text = masked("\n".join(lines[-_SHOWN:])) or "it said nothing"
    return PkgviewError(
        f"the {event} script of {title} failed (exit code {code}):\n{text}",
        remedy="Install what it misses. Without it: set the package to false in allowScripts of "
        "package.json.",
    )
