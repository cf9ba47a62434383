"""`scripts/fuzz --guided` in a repository of two targets, the fuzzer stood in for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FUZZER = """
import pathlib, sys
name, *said = sys.argv[1:]
options = dict(option[1:].split("=") for option in said if option.startswith("-"))
folders = [pathlib.Path(option) for option in said if not option.startswith("-")]
if "minimize_crash" in options:
    pathlib.Path(options["exact_artifact_path"]).write_bytes(folders[0].read_bytes()[:3])
elif "set_cover_merge" in options:
    for folder in folders[1:]:
        for path in folder.glob("good*"):
            (folders[0] / path.name).write_bytes(path.read_bytes())
else:
    (folders[0] / "good-new").touch()
    if name == "wrong":
        pathlib.Path(options["artifact_prefix"] + "crash-0123456789abcdef").write_bytes(b"bad!")
        sys.exit(77)
"""


def test_the_corpus_has_the_least_and_what_fails(tmp_path: Path) -> None:
    for name in ("right", "wrong"):
        kept = tmp_path / "tests/fuzz/corpus" / name
        kept.mkdir(parents=True)
        for path in ("good-old", "useless", "found-before"):
            (kept / path).touch()
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(REPOSITORY / "scripts/fuzz", tmp_path / "scripts/fuzz")
    (tmp_path / "tests/fuzz/guided.py").write_text(FUZZER)
    command = [sys.executable, script, "--guided", "--minutes", "0"]
    assert subprocess.run(command, cwd="/", check=False).returncode == 1
    corpus = tmp_path / "tests/fuzz/corpus"
    names = {"found-before", "good-old", "good-new"}
    assert {path.name for path in (corpus / "right").iterdir()} == names
    found = "found-456789abcdef"
    assert {path.name for path in (corpus / "wrong").iterdir()} == {*names, found}
    assert (corpus / "wrong" / found).read_bytes() == b"bad"
    assert subprocess.run([*command, "-k", "right"], cwd="/", check=False).returncode == 0
