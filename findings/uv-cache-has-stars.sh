#!/usr/bin/env bash
# uv 0.13.9: what a build said of its requirements is kept with **** for a password, and sent to the server the next time.
#
# Behaviour: a source tree whose back end says `Requires-Dist: demo @ http://ann:secret@host/demo-1.0-py3-none-any.whl` is
# resolved once (`uv pip compile`). Resolved again, with the file itself not in uv's cache, uv reads the tree's metadata
# from its cache, where the address is `http://ann:****@host/…`, and asks the server with the password "****": 401.
#
# Why it surprises: nothing has changed, and the same command has worked. The message shows `ann:****@`, as it does for
# every password, so nobody sees that this one was sent as it is shown.
#
# What follows: what masks a password for a message must not be what is written down. Who starts uv with such a tree needs
# the password in another way (a netrc), or a cache of its own.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" UV_HTTP_RETRIES=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install uv==0.13.9

mkdir files tree
cat >server.py <<'PY'
import base64, functools, http.server


class Handler(http.server.SimpleHTTPRequestHandler):
    def send_head(self):
        said = self.headers.get("Authorization", "Basic ").removeprefix("Basic ")
        user = base64.b64decode(said).decode()
        if user != "ann:secret":
            print(f"heard {user}" if user else "heard nobody", flush=True)
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="files"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()


server = http.server.HTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory="files"))
print("port", server.server_port, flush=True)
server.serve_forever()
PY
cat >wheels.py <<'PY'
import zipfile


def write(directory, name, requires=""):
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}-1.0-py3-none-any.whl"
PY
tools/bin/python -c 'import wheels; wheels.write("files", "demo")'
tools/bin/python server.py >log 2>/dev/null &
server=$!
until grep -qs port log; do sleep 0.1; done
address="http://ann:secret@127.0.0.1:$(sed -n 's/port //p' log)/demo-1.0-py3-none-any.whl"

cp wheels.py tree/
cat >tree/pyproject.toml <<'TOML'
[build-system]
requires = []
build-backend = "back"
backend-path = ["."]
TOML
cat >tree/back.py <<PY
import wheels


def build_wheel(directory, settings=None, metadata=None):
    return wheels.write(directory, "tree", "Requires-Dist: demo @ $address\n")
PY

echo ./tree >requirements.in
resolve() { tools/bin/uv pip compile -q --no-header --no-index --python tools/bin/python requirements.in; }
resolve >first.log && echo "the first time:  resolved"
tools/bin/uv -q cache clean demo
resolve 2>second.log && exit 1
echo "the second time: $(grep -o '401 Unauthorized' second.log | head -1), and the server $(grep heard log | tail -1)"
grep -q '401' second.log
grep -qF 'heard ann:****' log
