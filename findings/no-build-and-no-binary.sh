#!/bin/sh
# uv is told --no-build, and builds all the same: what any settings name for no-binary is an exception to it.
#
# Seen with uv 0.13.9. `uv pip compile --no-build` of a project whose own pyproject.toml has [tool.uv] no-binary-package = ["lib"],
# or [tool.uv.pip] no-binary, or whose requirements.txt has the line "--no-binary lib", runs lib's build back end. So does
# `uv lock --no-build`, also of a script with that in its inline block. `--only-binary :all:
# --no-binary :none:` on the command line takes nothing back: they are combined with what the files say. (`uv lock --binary` does.)
#
# Why it surprises: options on the command line go before settings of files everywhere else, and the help says "will not run
# arbitrary Python code". It is meant (no_build_package in crates/uv-configuration/src/build_options.rs: "allow all to be overridden by
# specific binary exclusions"), as a choice of one user. But the files may be a stranger's.
#
# What follows: who resolves a stranger's files with --no-build has to read all of uv's settings around them first.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv tools >/dev/null
tools/bin/pip install -q uv==0.13.9
uv=$here/tools/bin/uv
mkdir lib project
cat >lib/back.py <<'END'
import os
open(os.environ["RAN"], "w").close()
raise SystemExit("not today")
END
printf '[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n' >lib/pyproject.toml
cd project
export RAN="$here/ran" UV_NO_CACHE=1
pyproject() {
    printf '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["lib"]\n' >pyproject.toml
    printf '[tool.uv.sources]\nlib = {path = "../lib"}\n%s\n' "$1" >>pyproject.toml
}
ran() {
    rm -f "$RAN"
    "$uv" -q "$@" >/dev/null 2>&1 || true
    if test -e "$RAN"; then echo "built:     $*"; else echo "not built: $*"; return 1; fi
}
pyproject ""
if ran pip compile --no-build pyproject.toml; then exit 1; fi
pyproject '[tool.uv]
no-binary-package = ["lib"]'
ran pip compile --no-build pyproject.toml
ran pip compile --only-binary :all: --no-binary :none: pyproject.toml
ran lock --no-build
if ran lock --no-build --binary; then exit 1; fi
pyproject '[tool.uv.pip]
no-binary = ["lib"]'
ran pip compile --no-build pyproject.toml
rm pyproject.toml
printf -- '--no-binary lib\nlib @ file://%s/lib\n' "$here" >requirements.txt
ran pip compile --no-build requirements.txt
