#!/bin/sh
# uv pip compile reads the requirements of a script and none of its sources: a private package comes from the public index.
#
# Seen with uv 0.13.9. The inline block (PEP 723) of a script says that the package corp is from an index of its own
# ([[tool.uv.index]] explicit = true, [tool.uv.sources] corp = {index = "private"}). `uv run` and `uv lock --script` take corp 1 from
# there. `uv pip compile script.py`, which takes scripts as it takes pyproject.toml, asks the default index and takes corp 9 of
# anybody. Of a pyproject.toml it reads the sources. `uv run --with corp`, in a project that has such a source, takes corp 9, too.
#
# What follows: a lock or an installation by `uv pip … script.py` is no lock of that script, and nothing says so. `uv export
# --script script.py` reads all of the block, and writes nothing beside the script if there is no lock already.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv tools >/dev/null
tools/bin/pip install -q uv==0.13.9
uv=$here/tools/bin/uv
tools/bin/python - <<'END'
import pathlib, zipfile

for index, version in ("public", "9"), ("private", "1"):
    directory = pathlib.Path(index, "corp")
    directory.mkdir(parents=True)
    name, info = f"corp-{version}-py3-none-any.whl", f"corp-{version}.dist-info"
    with zipfile.ZipFile(directory / name, "w") as wheel:
        wheel.writestr("corp.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: corp\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"corp.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    (directory / "index.html").write_text(f'<a href="{name}">{name}</a>')
END
export UV_DEFAULT_INDEX="file://$here/public" UV_NO_CACHE=1
sources="[[tool.uv.index]]
name = \"private\"
url = \"file://$here/private\"
explicit = true
[tool.uv.sources]
corp = {index = \"private\"}"
{
    echo "# /// script"
    printf 'dependencies = ["corp"]\n%s\n' "$sources" | sed 's/^/# /'
    echo "# ///"
    echo 'from importlib.metadata import version; print(version("corp"))'
} >script.py
mkdir project
printf '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["corp"]\n%s\n' "$sources" >project/pyproject.toml
compiled() { "$uv" pip compile -q --no-header --no-annotate "$1" | sed 's/corp==//'; }
by_run=$("$uv" run -q script.py)
by_export=$("$uv" export -q --no-hashes --no-header --no-annotate --script script.py | sed 's/corp==//')
by_compile=$(compiled script.py)
of_project=$(compiled project/pyproject.toml)
sed -i 's/\["corp"\]/[]/' project/pyproject.toml
by_with=$(cd project && "$uv" run -q --with corp python -c 'from importlib.metadata import version; print(version("corp"))')
echo "uv run script.py:                     corp $by_run"
echo "uv export --script script.py:         corp $by_export"
echo "uv pip compile script.py:             corp $by_compile"
echo "uv pip compile project/pyproject.toml: corp $of_project"
echo "uv run --with corp, in the project:   corp $by_with"
test "$by_run $by_export $by_compile $of_project $by_with" = "1 1 9 1 9"
test ! -e script.py.lock
