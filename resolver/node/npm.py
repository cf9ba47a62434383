"""npm, run as a child: for what only it can say, and never for a package's own scripts.

npm's explanation of a failure is kept word for word. Which npm: the first on PATH.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.running.session import run_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SAID = {
    "npm_config_ignore_scripts": "true",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_progress": "false",
    "npm_config_color": "false",
    "npm_config_loglevel": "error",
    "npm_config_global": "false",
    "npm_config_location": "project",
    "npm_config_dry_run": "false",
    "npm_config_package_lock": "true",
    "npm_config_logs_max": "0",
}
"""What no file of a project can say otherwise: variables count more than those."""

_NOISE = re.compile(
    r"complete log of this run|eresolve-report|Log files were not written|rerun the command with "
    r"|^\s+at \S|^\s*\}$|^\s{2,}(errno|code|syscall|address|port|type|hostname): "
)
"""Of what npm says: where its logs are, and what JavaScript adds to an error."""

_REMEDIES = (
    (r"\bEUSAGE\b|\bEJSONPARSE\b", "Mend the file that npm names."),
    (r"\bERESOLVE\b", "Loosen one of the ranges named above, as npm says."),
    (r"\bENOTCACHED\b|only-if-cached", "Run it once without --offline."),
    (r"\bE40[13]\b|\bENEEDAUTH\b", "Log in to that registry: `npm login`."),
    (r"\bE404\b|\bETARGET\b", "Check the name and the range, and which registry is set."),
    (r"\bENOTFOUND\b|\bECONN|\bETIMEDOUT\b|\bEAI_AGAIN\b", "Check the network and the registry."),
    (r"SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_", "Name the certificates in npm's `cafile`."),
    (r"env: .?node.?: No such file|node: not found", "Install Node: npm runs on it."),
    (r"\bENOSPC\b", "Make room on that disk and run the command again."),
)


def npm(doing: str, *, otherwise: str = "") -> str:
    """Its path; `PkgviewError` where there is none.

    `doing`: what cannot be done without it, "cannot …"; `otherwise`: what does without.
    """
    found = shutil.which("npm")
    if found is None:
        raise PkgviewError(
            f"{doing}: npm does that, and is not on PATH",
            remedy=" ".join(filter(None, ("Install Node with npm.", otherwise))),
        )
    return os.path.abspath(found)  # noqa: PTH100 - not the file that it leads to


async def run_npm(
    arguments: Sequence[str],
    *,
    cwd: Path,
    doing: str,
    why: str = "",
    offline: bool = False,
) -> str:
    """What `npm ARGUMENTS` prints; `PkgviewError` in npm's words. May be cancelled.

    `why` it is needed, said where it is missing.
    """
    program = npm(doing, otherwise=why)
    environ = plain_environ()
    lower = {name.lower() for name in _SAID}
    environ = {name: value for name, value in environ.items() if name.lower() not in lower}
    environ |= _SAID | ({"npm_config_offline": "true"} if offline else {})
    code, stdout, stderr = await run_session([program, *arguments], cwd=cwd, environ=environ)
    if code:
        raise _explained(stderr or stdout, code, doing, cwd)
    return stdout


def plain_environ() -> dict[str, str]:
    """Our variables, without those of an `npm run` that may have started us."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("npm_package_", "npm_lifecycle_"))
        and name not in {"INIT_CWD", "npm_command", "npm_execpath", "npm_node_execpath"}
    }


def _explained(stderr: str, code: int, doing: str, cwd: Path) -> PkgviewError:
    lines = [
        re.sub(r"^npm (error|ERR!) ?(code )?", "", line).rstrip()
        for line in stderr.splitlines()
        if not line.startswith(("npm warn", "npm WARN", "npm notice"))
    ]
    kept = [line for line in lines if line and not _NOISE.search(line)]
    text = masked("\n".join(kept[:20])).replace(f"{cwd}/", "") or f"it exited with code {code}"
    remedy = next((said for pattern, said in _REMEDIES if re.search(pattern, stderr)), "")
    return PkgviewError(f"{doing}: npm: {text}", remedy=remedy)
