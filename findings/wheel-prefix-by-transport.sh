#!/usr/bin/env bash
# uv 0.13.9, pip 26.3: a wheel with bytes before its first member installs from a disk, not from an index.
#
# Behaviour: a Zip file may begin with other bytes (a self-extracting one does). Python's zipfile, pip and, of a file on this
# machine, uv read it from its end and install the wheel. From an index uv unpacks while it downloads, from the beginning,
# and refuses the same bytes: "Encountered an unexpected header".
#
# Why it surprises: the same file with the same hash is a good wheel or none by the way it came. A mirror made with
# `pip download`, and tested with --find-links, fails when it is served.
#
# What follows: who builds wheels lets them begin with a member. Who reads them decides by one reading, and refuses
# what has two: what lies before could be another archive for who reads from the beginning.
set -euo pipefail
work=$(mktemp -d)
server=""
trap '[[ -z $server ]] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 NO_PROXY=127.0.0.1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9

mkdir -p served/demo
tools/bin/python - <<'PY'
import base64, hashlib, zipfile

info = "demo-1.0.dist-info"
files = {
    "demo.py": "x = 1\n",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = ""
for name, text in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(text)}\n"
files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
path = "served/demo/demo-1.0-py3-none-any.whl"
with open(path, "wb") as file:
    file.write(b"#!/bin/sh\n")
    with zipfile.ZipFile(file, "a") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
with open(f"{path}.metadata", "w") as file:
    file.write(files[f"{info}/METADATA"])
link = '<a href="demo-1.0-py3-none-any.whl" data-core-metadata="true">demo-1.0-py3-none-any.whl</a>'
with open("served/demo/index.html", "w") as file:
    file.write(link)
PY

tools/bin/python -u -m http.server --bind 127.0.0.1 --directory served 0 >port 2>/dev/null &
server=$!
until grep -qs 'port [0-9]' port; do sleep 0.1; done
index=http://127.0.0.1:$(grep -o 'port [0-9]*' port | cut -d ' ' -f 2)/

seen=""
for tool in pip uv; do
    for from in disk index; do
        rm -rf target
        python3 -m venv --without-pip target
        [[ $from == disk ]] && where=(--no-index --find-links served/demo) || where=(--index-url "$index")
        [[ $tool == pip ]] && command=(tools/bin/python -m pip --isolated -q --python target/bin/python install) \
            || command=(tools/bin/uv --no-config pip install -q --python target/bin/python)
        status=0
        "${command[@]}" "${where[@]}" demo >/dev/null 2>said || status=$?
        printf '%-4s from %-6s status %d  %s\n' "$tool" "$from" "$status" "$(tail -n 1 said | cut -c1-100)"
        seen+="$tool $from $((status > 0)); "
    done
done

[[ "$seen" == "pip disk 0; pip index 0; uv disk 0; uv index 1; " ]]
