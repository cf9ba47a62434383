#!/usr/bin/env bash
# pip 26.3, uv 0.13.9: an installation that failed counts as done the second time.
#
# Behaviour: a wheel that is refused half way (here its `.data` has a scheme that there is not) ends `pip install` with
# status 1 and `uv pip install` with status 2, and an error. What was written until then stays, `.dist-info` among it:
# both list the distribution as installed, it can be imported, and the same command once more ends with status 0.
#
# Why it surprises: an error is taken for "nothing was installed". A job that is tried again, as CI does it, is green the
# second time, with a part of the files.
#
# What follows: after a failed installation the environment is made anew. Who judges an environment by its `.dist-info`
# directories looks for INSTALLER, too: it is missing in both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9

mkdir wheels
tools/bin/python - <<'PY'
import base64, hashlib, zipfile

info = "demo-1.0.dist-info"
files = {
    "demo.py": "x = 1\n",
    "demo-1.0.data/secret/x": "x\n",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = ""
for name, text in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(text)}\n"
files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
with zipfile.ZipFile("wheels/demo-1.0-py3-none-any.whl", "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
PY

pip() { tools/bin/python -m pip -q --python by-pip/bin/python "$@" --no-index --find-links wheels; }
uv() { tools/bin/uv pip "$1" -q --python by-uv/bin/python --no-index --find-links wheels "${@:2}"; }

seen=""
for tool in pip uv; do
    python3 -m venv --without-pip "by-$tool"
    for time in first second; do
        status=0
        "$tool" install demo >/dev/null 2>said || status=$?
        printf '%-4s %-7s status %d  %s\n' "$tool" "$time" "$status" "$(tail -n 1 said | cut -c1-90)"
        seen+="$status "
    done
    listed=$(tools/bin/python -m pip --python "by-$tool/bin/python" list --format freeze)
    imported=$("by-$tool/bin/python" -c 'import demo; print(demo.x)')
    info=$(echo "by-$tool"/lib/python3*/site-packages/demo-1.0.dist-info)
    installer=$([[ -e $info/INSTALLER ]] && echo there || echo missing)
    echo "     listed as $listed, imported: $imported, INSTALLER $installer"
    seen+="$listed $imported $installer; "
done

[[ "$seen" == "1 0 demo==1.0 1 missing; 2 0 demo==1.0 1 missing; " ]]
