from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio

from resolver.errors import PkgviewError
from resolver.python.uv.run import explained, explanation_of, run_child, run_uv

CASES = [
    (
        "Because there is no version of six==99 and you require six==99, we can conclude it.",
        "version that exists",
    ),
    (
        "Because nonesuch was not found in the package registry and you require it",
        "name is written",
    ),
    (
        "Because a==1 depends on b>=2 and you require b==1, your requirements are incompatible.",
        "Loosen",
    ),
    ("Request failed after 3 retries\n  cause: tcp connect error", "Check the network"),
    ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
    ("HTTP status client error (401 Unauthorized) for url", "credentials"),
    ("The build backend returned an error\n  cause: exit status: 1", "its build asks for"),
    ("Building source distributions is disabled", "pkgview up"),
    ("failed to create directory: Read-only file system (os error 30)", "writable"),
    ("failed to write: No space left on device (os error 28)", "Make room"),
    ("Couldn't parse requirement in `x` at position 0", "Mend the file"),
    ("Requested extra not found: x", "pyproject.toml defines"),
    ("Network connectivity is disabled", "without --offline"),
    (
        "Failed to read dependency groups\n  cause: No `pyproject.toml` found at: /x",
        "Leave the group out",
    ),
    (
        "Unexpected '=', expected '-c', '-e', '-r' or the start of a requirement: -:1:1",
        "--with 'rich>=14'",
    ),
    ("Couldn't parse requirement in `-` at position 0", "--with 'rich>=14'"),
    (
        "Unexpected '=', expected '-c', '-e', '-r' or the start of a requirement: x.txt:1:1",
        "Mend the file",
    ),
]


@pytest.mark.parametrize(("text", "remedy"), CASES)
def test_each_failure_has_its_remedy(text: str, remedy: str) -> None:
    error = explained(f"error: {text}\n", code=1, doing="cannot resolve /x", offline=False)
    assert error.what == f"cannot resolve /x: {text}"
    assert remedy in error.remedy


def test_another_uv_is_not_updated() -> None:
    text = "Required uv version `>=99` does not match the running version `0.13.9`."
    said = f"error: {text} Update\n  `uv` by running `uv self update`.\n"
    error = explained(said, code=1, doing="cannot resolve /x", offline=False)
    assert error.what == f"cannot resolve /x: {text}"
    assert "uv of pkgview's own environment" in error.remedy


def test_lines_are_broken_anywhere() -> None:
    text = (
        "error: Because the requested Python version (>=3.11) does not satisfy\n    Python>=4 and …"
    )
    assert "--python" in explained(text, code=1, doing="x", offline=False).remedy


def test_without_network_an_unknown_name_may_just_not_be_here() -> None:
    error = explained(f"error: {CASES[0][0]}", code=1, doing="x", offline=True)
    assert "without --offline" in error.remedy


def test_progress_and_warnings_are_left_out() -> None:
    text = (
        "warning: something old\nUsing CPython 3.11\nResolved 3 packages in 1ms\n"
        "error: No solution\n  cause: because\n\nhint: try\n"
    )
    assert explanation_of(text) == "No solution\n  cause: because\nhint: try"


def test_passwords_are_masked() -> None:
    assert explanation_of("error: git https://ada:secret@x/y") == "git https://****@x/y"


def test_silence_and_signals() -> None:
    assert "said nothing" in explained("", code=2, doing="x", offline=False).what
    assert "SIGKILL" in explained("", code=-9, doing="x", offline=False).what


async def test_uv_runs_and_fails_as_told(home: Path) -> None:
    output = await run_uv(["--version"], cwd=home, added={})
    assert output.stdout.startswith("uv ")
    with pytest.raises(PkgviewError, match=r"cannot do it: .*nonsense"):
        await run_uv(["nonsense"], cwd=home, added={}, doing="cannot do it")


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o644), (0o000, 0o644), (0o077, 0o600)])
async def test_nobody_else_may_write_to_what_a_child_makes(
    home: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        await run_child(["touch", "made"], cwd=home, environ={"PATH": os.environ["PATH"]})
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (home / "made").stat().st_mode & 0o777 == mode


async def test_missing_command_is_named(home: Path) -> None:
    with pytest.raises(PkgviewError, match="cannot run /no/such"):
        await run_child(["/no/such"], cwd=home, environ={})


async def test_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    note = tmp_path / "child"
    # The grandchild ignores the polite signal, as a build's compiler may.
    script = f"(trap '' TERM; echo $$ > /dev/null; sleep 60) & echo $! > {note}; wait"
    start = time.monotonic()
    with trio.move_on_after(0.3):
        await run_child(["/bin/sh", "-c", script], cwd=tmp_path, environ={"PATH": "/bin:/usr/bin"})
    assert time.monotonic() - start < 6
    while is_running(note):
        assert time.monotonic() - start < 10
        await trio.sleep(0.01)


def is_running(note: Path) -> bool:
    child = Path("/proc", note.read_text().strip(), "stat")
    return child.exists() and child.read_text().split()[2] != "Z"
