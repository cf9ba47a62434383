#!/usr/bin/env bash
# packaging 26.4, pip 26.3, uv 0.13.9: a wheel's build number counts for an index, not for a lock.
#
# Behaviour: of several wheels of one version that differ only in their build number, `pip install NAME`,
# `uv lock && uv sync` and `uv pip install -r pylock.toml` take the highest. `Pylock.select()` of packaging ranks by tag
# alone and keeps the file's order among equals, and `pip install -r pylock.toml` is built on it: it takes whichever
# stands first. uv writes them in ascending order, so from uv's export pip takes the *lowest*, the one without a number.
#
# Why it surprises: "acts as a tie-breaker if two wheel file names are the same in all other respects" says the wheel
# format; a build number is there to replace a bad wheel of the same version. A lock names exact files with hashes, and
# yet two installers of the same lock install different ones, both without a word.
#
# What follows: who selects by packaging.pylock sorts `package.wheels` by build number, descending, before `select()`.
# Who writes a lock puts the best wheel first, or only one of those.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9 packaging==26.4

mkdir wheels project
tools/bin/python - <<'PY'
import base64, hashlib, zipfile

for build in ("", "1", "2", "10"):
    info = "demo-1.0.dist-info"
    files = {
        "demo.py": f"BUILD = {build!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        + (f"Build: {build}\n" if build else ""),
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile("-".join(filter(None, ["wheels/demo", "1.0", build, "py3-none-any.whl"])), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
PY

cat >project/pyproject.toml <<'TOML'
[project]
name = "project"
version = "1"
requires-python = ">=3.11"
dependencies = ["demo"]
[tool.uv]
find-links = ["../wheels"]
no-index = true
TOML
cd project
uv=../tools/bin/uv
"$uv" lock -q --python ../tools/bin/python
"$uv" export -q --no-emit-project --format pylock.toml -o pylock.toml >/dev/null
"$uv" sync -q --python ../tools/bin/python
grep -o 'demo-1.0[^"]*whl' pylock.toml | sed 's/^/in the lock: /'

# The build number of what a command, given a new environment's Python, installs.
installed_by() {
    rm -rf ../target
    python3 -m venv --without-pip ../target
    "$@" >/dev/null 2>&1
    ../target/bin/python -c 'import demo; print(demo.BUILD or "none")'
}
pip() { ../tools/bin/python -m pip -qq --python ../target/bin/python install --no-index "$@"; }
uv_pip() { "$uv" pip install -q --python ../target/bin/python --no-index "$@"; }

by_name=$(installed_by pip --find-links ../wheels demo)
by_uv_sync=$(.venv/bin/python -c 'import demo; print(demo.BUILD or "none")')
by_uv_lock=$(installed_by uv_pip -r pylock.toml)
by_pip_lock=$(installed_by pip -r pylock.toml)
read -r forwards backwards < <(../tools/bin/python - <<'PY'
import dataclasses, pathlib, tomllib
from packaging.pylock import Pylock
from packaging.utils import parse_wheel_filename

lock = Pylock.from_dict(tomllib.loads(pathlib.Path("pylock.toml").read_text()))
turned = dataclasses.replace(
    lock, packages=[dataclasses.replace(p, wheels=p.wheels[::-1]) for p in lock.packages]
)
for each in lock, turned:
    ((_, wheel),) = each.select()
    build = parse_wheel_filename(wheel.filename)[2]
    print(build[0] if build else "none", end=" ")
print()
PY
)
printf '%-50s build %s\n' \
    "pip install demo" "$by_name" \
    "uv sync" "$by_uv_sync" \
    "uv pip install -r pylock.toml" "$by_uv_lock" \
    "pip install -r pylock.toml" "$by_pip_lock" \
    "packaging, Pylock.select()" "$forwards" \
    "packaging, the lock's wheels in reverse" "$backwards"

[[ "$by_name $by_uv_sync $by_uv_lock" == "10 10 10" && "$by_pip_lock $forwards $backwards" == "none none 10" ]]
