#!/usr/bin/env bash
# uv 0.13.9, pip 26.3: whether a hash that a requirement states is checked depends on the command.
#
# Behaviour: of `demo @ file:///…/demo-1.0-py3-none-any.whl#sha256=0000…`, which is not the file's, `pip install` and
# `uv pip install` say that the hash does not match. `uv lock && uv sync`, `uv run script.py` and `uv run --with` install it,
# the last two also where the address is http: with another wrong digest. `uv pip compile` reads `--hash=…` at the end of a line and
# `#sha256=…` in a `file:` address, and writes a lock with the digest that the file has now, or the index says; of an
# http: address it copies a SHA-2 digest into the lock unseen, and drops a `#md5=…`.
#
# Why it surprises: the requirement is the same text in all of them, and the lock that was made in spite of it looks as
# if everything had been checked: each file has a SHA-256.
#
# What follows: who has uv resolve and installs from its lock has to hold that lock to the hashes of the requirements.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 UV_HTTP_RETRIES=0
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9

mkdir files
tools/bin/python - <<'PY'
import base64, hashlib, zipfile

info = "demo-1.0.dist-info"
files = {
    "demo.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = ""
for name, text in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(text)}\n"
files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
with zipfile.ZipFile("files/demo-1.0-py3-none-any.whl", "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
PY
tools/bin/python -u -m http.server 0 --bind 127.0.0.1 --directory files >port 2>/dev/null &
server=$!
until grep -q port port; do sleep 0.1; done
port=$(sed 's/.*port \([0-9]*\).*/\1/' port)

wheel=demo-1.0-py3-none-any.whl
wrong=$(printf '0%.0s' {1..64})
uv=tools/bin/uv

# "installed" or "refused": what a command, given a new environment's Python, does.
outcome() {
    rm -rf target
    python3 -m venv --without-pip target
    if "$@" >/dev/null 2>&1; then echo installed; else echo refused; fi
}

said=
for address in "file://$work/files/$wheel" "http://127.0.0.1:$port/$wheel"; do
    line="demo @ $address#sha256=$wrong"
    echo "$line" >requirements.txt
    rm -rf project && mkdir project
    printf '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["%s"]\n' "$line" >project/pyproject.toml
    printf '# /// script\n# dependencies = ["%s"]\n# ///\n' "$line" >script.py
    outcomes=(
        "$(outcome tools/bin/python -m pip --python target/bin/python install --no-index -r requirements.txt)"
        "$(outcome "$uv" pip install --no-index --python target/bin/python -r requirements.txt)"
        "$(outcome "$uv" sync --no-index --project project --python tools/bin/python)"
        "$(outcome "$uv" run --no-index --python tools/bin/python script.py)"
        "$(outcome "$uv" run --no-index --no-project --python tools/bin/python --with "$line" python -c 'import demo')"
    )
    echo "${address%%:*}: pip install, uv pip install, uv sync, uv run script.py, uv run --with: ${outcomes[*]}"
    said+="${outcomes[*]};"
done

echo "./files/$wheel --hash=sha256:$wrong" >requirements.txt
"$uv" pip compile -q --no-header --no-index --python tools/bin/python --format pylock.toml -o pylock.toml requirements.txt >/dev/null
echo "uv pip compile of a wrong --hash: $(grep -o 'sha256 = "[0-9a-f]*"' pylock.toml)"

[[ "$said" == "refused refused installed installed installed;refused refused refused installed installed;" ]]
! grep -q "$wrong" pylock.toml
grep -q 'sha256 = "' pylock.toml
