#!/bin/sh
# uv build leaves out the settings that a project has for the one package that it builds; uv sync follows them.
#
# Seen with uv 0.13.9. In a project with [tool.uv.config-settings-package] and [tool.uv.extra-build-variables] for a distribution
# lib, `uv sync` builds lib with them. `uv build --wheel ../lib`, run in the same directory, follows build-constraint-dependencies,
# config-settings and extra-build-dependencies (without match-runtime) of that pyproject.toml, and leaves out those two without a word:
# it does not know what the distribution is called before it is built.
#
# What follows: a wheel that is built "with the project's settings" by uv build is another one than uv sync makes. Who builds for a
# project gives them as --config-setting and in the environment.
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
def build_wheel(directory, settings=None, metadata=None):
    with open(os.environ["SEEN"], "w") as file:
        print(settings or {}, os.environ.get("OF_LIB"), file=file)
    raise SystemExit("seen enough")
END
printf '[project]\nname = "lib"\nversion = "1"\n' >lib/pyproject.toml
printf '[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n' >>lib/pyproject.toml
cat >project/pyproject.toml <<'END'
[project]
name = "project"
version = "1"
requires-python = ">=3.9"
dependencies = ["lib"]
[tool.uv]
config-settings = {a = "of all"}
config-settings-package = {lib = {b = "of lib"}}
extra-build-variables = {lib = {OF_LIB = "x"}}
[tool.uv.sources]
lib = {path = "../lib"}
END
cd project
export SEEN="$here/seen" UV_NO_CACHE=1
"$uv" -q build --wheel ../lib >/dev/null 2>&1 || true
by_build=$(cat "$SEEN")
"$uv" -q sync >/dev/null 2>&1 || true
by_sync=$(cat "$SEEN")
echo "uv build: $by_build"
echo "uv sync:  $by_sync"
test "$by_build" = "{'a': 'of all'} None"
test "$by_sync" = "{'a': 'of all', 'b': 'of lib'} x"
