"""Locking a script that has no lock of its own, in the state, through `uv lock --script`."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from resolver.buildenv import index_variables
from resolver.fetch.addresses import without_userinfo
from resolver.inputs import read_input
from resolver.python.resolution import renewal
from resolver.python.script.copied import copied
from resolver.python.uv.run import run_uv
from resolver.python.uv.settings import effective, script_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.python.resolution import Resolution

_SETTINGS = ("index", "index-url", "extra-index-url", "find-links", "no-index")


async def lock_script(
    resolution: Resolution, output: Path, preferred: bytes, added: Mapping[str, str]
) -> bytes:
    """Have uv write the pylock.toml `output`: the lock in uv's own form, to be preferred next time.

    `preferred` is such a lock, or b"". It counts only for the same indexes: uv keeps what a lock
    has, files and all, as long as its version will do, whichever index is named now. Files are left
    beside `output`, which lies in a directory of its own; `added` are the variables for uv
    (`resolver.python.index`).
    """
    project, interpreter = resolution.project, resolution.interpreter
    script = output.with_name("script.py")
    script.write_text(copied(script_document(project.root), project.directory, interpreter.minor))
    lock = script.with_name(f"{script.name}.lock")
    mark = _indexes(project.root, added)
    if preferred.startswith(mark):
        lock.write_bytes(preferred)

    async def uv(verb: str, *options: str) -> None:
        await run_uv(
            [verb, f"--script={script}", f"--python={interpreter.executable}", *options],
            cwd=project.directory,
            added=added,
            offline=resolution.offline,
            doing=f"cannot resolve {resolution.named}",
        )

    # What is named for `no-binary` would be built in spite of `--no-build`.
    await uv("lock", *renewal(resolution), *(["--binary"] if resolution.no_build else []))
    export = ("--frozen", "--format=pylock.toml", "--quiet", "--no-header")
    await uv("export", *export, f"--output-file={output}")
    return mark + read_input(lock)


def _indexes(script: Path, added: Mapping[str, str]) -> bytes:
    """A comment that tells where packages are from; without passwords, which change."""
    settings, environ = effective(os.environ, script), os.environ | added
    said = [settings.get(key) for key in _SETTINGS]
    said += index_variables(environ, "UV_")
    plain = without_userinfo(json.dumps(said, sort_keys=True, default=str))
    return f"# indexes {hashlib.sha256(plain.encode()).hexdigest()}\n".encode()
