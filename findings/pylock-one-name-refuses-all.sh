#!/usr/bin/env bash
# packaging 26.4, pip 26.3, uv 0.13.9: one file name has all of a lock refused, also in a lock that uv wrote.
#
# Behaviour: `Pylock.from_dict` parses the names of all files of all packages, those for other platforms too. One that it
# does not understand makes the whole lock invalid, and with it `pip install -r pylock.toml`. Three that uv takes:
#   demo__pkg-1.0-py3-none-any.whl         several underscores. `uv pip compile` writes it so; `uv export` adds a `name` with
#                                          one underscore, and packaging reads that lock. pip goes by the address all the same
#   demo-1.0-py3-none-any-x86_64_v3.whl    a wheel variant (PEP 817, a draft), passed over for the ordinary wheel beside it
#   demo-1.0.tgz                           a source archive from before PEP 625; uv locks none, and installs one that is locked
#
# Why it surprises: an index may list any of these, and all tools pass over names there that they do not understand. In a
# lock the same name stands beside the file that would have been taken, and nothing can be installed.
#
# What follows: who reads locks by packaging gives such files a `name` (PEP 751 allows one) that it understands, or takes
# them out of the document first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9 packaging==26.4

mkdir files project
tools/bin/python - <<'PY'
import base64, hashlib, io, tarfile, zipfile


def wheel(filename, name, stem):
    info = f"{stem}.dist-info"
    files = {
        f"{name}.py": "x = 1\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(f"files/{filename}", "w") as packed:
        for path, text in files.items():
            packed.writestr(path, text)


wheel("demo__pkg-1.0-py3-none-any.whl", "demo__pkg", "demo__pkg-1.0")
for label in ("", "-x86_64_v3"):
    wheel(f"demo-1.0-py3-none-any{label}.whl", "demo", "demo-1.0")


def entry(filename):
    digest = hashlib.sha256(open(f"files/{filename}", "rb").read()).hexdigest()
    return f'{{ path = "../files/{filename}", hashes = {{ sha256 = "{digest}" }} }}'


for kind, files in {"ordinary": ("",), "variant": ("-x86_64_v3", "")}.items():
    wheels = ", ".join(entry(f"demo-1.0-py3-none-any{label}.whl") for label in files)
    open(f"project/pylock.{kind}.toml", "w").write(
        'lock-version = "1.0"\ncreated-by = "hand"\n'
        f'[[packages]]\nname = "demo"\nversion = "1.0"\nwheels = [{wheels}]\n'
    )
PY

cd project
uv=../tools/bin/uv
cat >pyproject.toml <<'TOML'
[project]
name = "project"
version = "1"
requires-python = ">=3.11"
dependencies = ["demo--pkg"]
[tool.uv]
find-links = ["../files"]
no-index = true
TOML
"$uv" pip compile -q --universal pyproject.toml --format pylock.toml -o pylock.compiled.toml >/dev/null
"$uv" lock -q --python ../tools/bin/python
"$uv" export -q --format pylock.toml -o pylock.exported.toml >/dev/null

seen=""
for lock in ordinary variant compiled exported; do
    status=0
    ../tools/bin/python -c 'import sys, tomllib; from packaging.pylock import Pylock
Pylock.from_dict(tomllib.load(open(sys.argv[1], "rb")))' "pylock.$lock.toml" 2>/dev/null || status=$?
    seen+="$lock packaging $status; "
    for tool in pip uv; do
        rm -rf ../target
        python3 -m venv --without-pip ../target
        status=0
        if [[ $tool == pip ]]; then
            ../tools/bin/python -m pip -q --python ../target/bin/python install --no-index \
                -r "pylock.$lock.toml" >/dev/null 2>said || status=$?
        else
            "$uv" pip install -q --python ../target/bin/python --no-index --preview-features pylock \
                -r "pylock.$lock.toml" >/dev/null 2>said || status=$?
        fi
        printf '%-9s %-4s status %d  %s\n' "$lock" "$tool" "$status" "$(grep -m 1 -o "Invalid [pw].*\|ERROR.*" said | cut -c1-120 || true)"
        seen+="$lock $tool $((status > 0)); "
    done
done

[[ "$seen" == "ordinary packaging 0; ordinary pip 0; ordinary uv 0; variant packaging 1; variant pip 1; variant uv 0; \
compiled packaging 1; compiled pip 1; compiled uv 0; exported packaging 0; exported pip 1; exported uv 0; " ]]
