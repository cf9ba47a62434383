#!/bin/sh
# uv lock --script goes on with the packages of an index that the script names no more.
#
# Seen with uv 0.13.9. A script's inline block (PEP 723) names an index, [[tool.uv.index]] url = "…/old", and `uv lock --script` has
# written its lock. After the block names another index instead, `uv lock --script` changes nothing, `--check` finds the lock up to
# date, and `uv run` installs the file of the old index, which is named nowhere any more. Without the lock it takes that of the
# new one. In a pyproject.toml the same edit has `uv lock` go to the new index.
#
# Why it surprises: versions of before are preferences, and another index may have other bytes under the same version. Who moves
# a script from a public index to a private one goes on with the public package.
#
# What follows: after another index is named the lock of a script is removed, and made anew.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv tools >/dev/null
tools/bin/pip install -q uv==0.13.9
uv=$here/tools/bin/uv
tools/bin/python - <<'END'
import pathlib, zipfile

for index in "old", "new":
    directory = pathlib.Path(index, "corp")
    directory.mkdir(parents=True)
    name, info = "corp-1-py3-none-any.whl", "corp-1.dist-info"
    with zipfile.ZipFile(directory / name, "w") as wheel:
        wheel.writestr("corp.py", f"index = {index!r}\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: corp\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"corp.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    (directory / "index.html").write_text(f'<a href="{name}">{name}</a>')
END
export UV_NO_CACHE=1
unset UV_INDEX UV_DEFAULT_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_FIND_LINKS VIRTUAL_ENV || true
index="[[tool.uv.index]]
url = \"file://$here/old\"
default = true"
{
    echo "# /// script"
    printf 'requires-python = ">=3.9"\ndependencies = ["corp"]\n%s\n' "$index" | sed 's/^/# /'
    echo "# ///"
    echo 'import corp; print(corp.index)'
} >script.py
printf '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["corp"]\n%s\n' "$index" >pyproject.toml
"$uv" lock -q --script script.py
"$uv" lock -q
sed -i "s|$here/old|$here/new|" script.py pyproject.toml
"$uv" lock -q --script script.py
"$uv" lock -q --check --script script.py && checked="up to date"
"$uv" lock -q
with_lock=$("$uv" run -q --script script.py)
of_project=$(grep -o "$here/[a-z]*" uv.lock | sort -u | sed 's|.*/||')
rm script.py.lock
without=$("$uv" run -q --script script.py)
echo "with its lock ($checked): corp of $with_lock"
echo "without a lock: corp of $without"
echo "of a pyproject.toml with a uv.lock: corp of $of_project"
test "$with_lock $without $of_project" = "old new new"
