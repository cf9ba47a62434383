#!/usr/bin/env bash
# CPython 3.11 to 3.13 (tried: 3.11.7, 3.12.1, 3.13.0): nothing can be imported from a directory whose mtime is -1.
#
# Behaviour: a directory on sys.path with a modification time of exactly one second before 1970 imports nothing, though
# it can be listed, read and run from, and pkgutil and importlib.metadata find all that is in it. With -2, or 0, it
# works. importlib.invalidate_caches() does not help. The same for a package's directory: the package is imported, its
# submodules are not.
#
# Why it surprises: the time of a directory has no meaning for import, and Python's documents name it only as what tells
# a cache that it is old. FileFinder's cache begins empty with the time -1, which stands for "not read yet", and is read
# when the directory's time differs from that. invalidate_caches() sets it to -1 once more.
#
# What follows: a file system, an unpacker or a copier that has no time for a directory and says -1 (the usual "unknown"
# of C interfaces, and what an unsigned 32-bit 0xffffffff becomes) makes packages that are there and not importable,
# reported as "No module named". Give 0 or any other time; refuse or clamp -1 in what is unpacked.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset PYTHONPATH

python3 -m venv tools
tools/bin/python --version
tools/bin/python -m pip -qq --disable-pip-version-check install --target packages six==1.17.0 h11==0.16.0

try() { # words of Python
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$work/packages" tools/bin/python -c "$1" 2>&1 | tail -n 1 || true
}
shown=""
show() { # label, words of Python
    local seen
    seen=$(try "$2")
    printf '%-48s %s\n' "$1" "$seen"
    shown+="$seen;"
}

import_six='import six; print("imported")'
for time in -2 0 -1; do
    touch -d "@$time" packages
    show "mtime $time: import six" "$import_six"
done
show "mtime -1: after invalidate_caches()" "import importlib; importlib.invalidate_caches(); $import_six"
show "mtime -1: importlib.metadata" 'from importlib.metadata import version; print(version("six"))'
show "mtime -1: pkgutil" 'import os, pkgutil
print("six" in {m.name for m in pkgutil.iter_modules([os.environ["PYTHONPATH"]])})'

touch -d @0 packages
touch -d @-1 packages/h11
show "the package h11 has mtime -1: import h11" 'import h11'

missing="ModuleNotFoundError: No module named"
[[ "$shown" == "imported;imported;$missing 'six';$missing 'six';1.17.0;True;$missing 'h11._connection';" ]]
