#!/bin/sh
# uv is told --no-build, and runs a setup.py: that of an editable whose name no file tells.
#
# Seen with uv 0.13.9, `uv pip compile --no-build`. A requirements file with the line "-e ./lib", where lib has a setup.py and
# nothing else, is resolved, and lib/setup.py was run for it, twice. With "./lib" uv refuses ("Building source distributions is
# disabled"), and so it does with "-e ./lib" where a pyproject.toml, PKG-INFO or setup.cfg tells the name.
#
# Why: --no-build is asked by distribution, and what has no name yet is let through if it is editable (build_metadata in
# crates/uv-distribution/src/source/mod.rs), since settings for single packages may allow its build.
#
# So --no-build is no promise about code. Who resolves a stranger's requirements has to see to it that uv meets no such line:
# the same directory without -e, with --no-deps and --no-cache, tells beforehand whether there is a name.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv tools >/dev/null
tools/bin/pip install -q uv==0.13.9
mkdir lib
cat >lib/setup.py <<'END'
open("ran", "a").write("setup.py was run\n")
from setuptools import setup
setup(name="lib", version="1")
END
try() {
    rm -f lib/ran
    echo "$1" >requirements.txt
    echo "== $1"
    tools/bin/uv pip compile -q --no-header --no-build requirements.txt || true
    cat lib/ran 2>/dev/null || echo "nothing was run"
}
try ./lib
test ! -e lib/ran
try "-e ./lib"
test -e lib/ran
printf '[metadata]\nname = lib\n' >lib/setup.cfg
try "-e ./lib"
test ! -e lib/ran
