#!/usr/bin/env bash
# pipenv 2026.10.3, uv 0.13.9, packaging 26.4, pip 26.3: `environments = []` in a pylock.toml is for all, or for none.
#
# Behaviour: `pipenv pylock --generate` writes `environments = []` into every lock. `pip install -r pylock.toml` installs
# it. `uv pip install -r pylock.toml` stops: "The target environment is not supported by the lockfile", and so does
# `Pylock.select()` of packaging, on whatever machine: no marker of an empty list can hold. All four call the file valid
# (`pipenv pylock --validate`, `Pylock.from_dict`).
#
# Why it surprises: the lock format says of `environments` that it MAY be there, and what a list of markers means, not
# what an empty one does. One of the two tools that write such locks by themselves makes a lock that the most used
# reader of the format refuses, for a reason that names the machine and not the file.
#
# What follows: who reads drops an empty `environments`, as pip does. Who writes leaves the key out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIPENV_IGNORE_VIRTUALENVS=1 \
    PIPENV_VENV_IN_PROJECT=1 PIPENV_CACHE_DIR="$work/pipenv" HOME="$work" CI=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9 packaging==26.4
python3 -m venv pipenv-tools
pipenv-tools/bin/python -m pip -qq install pipenv==2026.10.3

mkdir project
cd project
../pipenv-tools/bin/pipenv install six==1.17.0 >/dev/null 2>&1
../pipenv-tools/bin/pipenv pylock --generate >/dev/null 2>&1
grep -E '^(environments|default-groups|created-by)' pylock.toml | tee written
../pipenv-tools/bin/pipenv pylock --validate >/dev/null 2>&1 && echo 'pipenv says that it is valid'

# What a command, given a new environment's Python, makes of it: the version, or how it ends.
outcome() {
    rm -rf ../target
    python3 -m venv --without-pip ../target
    if "$@" >../said 2>&1; then
        ../target/bin/python -c 'import six; print("installs six", six.__version__)'
    else
        grep -io 'environment is not supported' ../said || cat ../said
    fi
}
by_pip=$(outcome ../tools/bin/python -m pip --python ../target/bin/python install -r pylock.toml)
by_uv=$(outcome ../tools/bin/uv pip install --preview-features pylock --python ../target/bin/python -r pylock.toml)
by_packaging=$(../tools/bin/python - <<'PY'
import pathlib, tomllib
from packaging.pylock import Pylock, PylockSelectError

document = tomllib.loads(pathlib.Path("pylock.toml").read_text())
try:
    list(Pylock.from_dict(document).select())
except PylockSelectError as error:
    print("refuses:", error)
del document["environments"]
print("without the line:", len(list(Pylock.from_dict(document).select())), "package")
PY
)
printf '%-14s %s\n' pip "$by_pip" uv "$by_uv" packaging "${by_packaging//$'\n'/; }"

grep -qx 'environments = \[\]' written
[[ $by_pip == 'installs six 1.17.0' && $by_uv == 'environment is not supported' ]]
[[ $by_packaging == refuses:*'without the line: 1 package' ]]
