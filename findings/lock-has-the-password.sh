#!/usr/bin/env bash
# uv 0.13.9: a pylock.toml of `uv pip compile` has the password that a requirement took from the environment.
#
# Behaviour: `demo @ https://${LOGIN}:${WORD}@host/demo-1.0-py3-none-any.whl` in a requirements.txt keeps the password out of the file.
# Compiled to a requirements.txt the variables stand in the result as they stood in the source. Compiled to a pylock.toml
# they are replaced by their values: `url = "https://ann:secret@host/…"`. The same is so where a variable holds the whole
# address (`demo @ ${WHOLE}`). Of an index's address nothing is written.
#
# Why it surprises: a lock is made to be committed, and whoever writes a variable does so to have no secret in any file. It
# also ages: after the password has changed the lock is wrong, though no file that it was made from has changed.
#
# What follows: who writes a lock takes user and password out of all addresses in it, and looks them up when it fetches.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 LOGIN=ann WORD=secret
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install uv==0.13.9

mkdir files
tools/bin/python - <<'PY'
import zipfile

info = "demo-1.0.dist-info"
with zipfile.ZipFile("files/demo-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
PY
tools/bin/python -u -m http.server 0 --bind 127.0.0.1 --directory files >port 2>/dev/null &
server=$!
until grep -qs port port; do sleep 0.1; done
port=$(sed 's/.*port \([0-9]*\).*/\1/' port)

echo "demo @ http://\${LOGIN}:\${WORD}@127.0.0.1:$port/demo-1.0-py3-none-any.whl" >requirements.in
compile() { tools/bin/uv pip compile -q --no-header --no-index --python tools/bin/python "$@" requirements.in >/dev/null; }
compile -o requirements.txt
compile --format pylock.toml -o pylock.toml
export WHOLE="http://ann:secret@127.0.0.1:$port/demo-1.0-py3-none-any.whl"
echo "demo @ \${WHOLE}" >requirements.in
compile --format pylock.toml -o pylock.whole.toml
echo "requirements.txt: $(grep demo requirements.txt)"
echo "pylock.toml:      $(grep -o 'url = "[^"]*"' pylock.toml)"

grep -qF '${WORD}' requirements.txt
! grep -q secret requirements.txt
grep -q 'ann:secret@' pylock.toml
grep -q 'ann:secret@' pylock.whole.toml
