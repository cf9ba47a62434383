"""Git repositories for tests, and a server that has them by HTTP as the usual hosts do."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def git(directory: Path, *arguments: str) -> str:
    """What git says; no setting of the user's counts."""
    people = {
        f"GIT_{who}_{what}": "ada" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    # Not GIT_CONFIG_GLOBAL=/dev/null: root's `git config --global` puts a file in its place.
    nowhere = {name: os.fspath(directory / "nowhere") for name in ("HOME", "XDG_CONFIG_HOME")}
    environ = {**os.environ, **people, **nowhere, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(directory: Path, files: Mapping[str, str], *tags: str) -> Path:
    """A new repository with these files in three commits, of which the second has the tags."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q", "-b", "trunk")
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    for number in range(3):
        (directory / "counted.txt").write_text(f"{number}\n")
        git(directory, "add", "-A")
        git(directory, "commit", "-qm", f"number {number}")
        for tag in tags if number == 1 else ():
            git(directory, "tag", tag)
    return directory


@contextmanager
def a_host(root: Path) -> Iterator[str]:
    """The URL by which the repositories below `root` are served, by git's own http-backend."""

    class Requests(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            path, _, query = self.path.partition("?")
            length = self.headers.get("Content-Length")
            body = self.rfile.read(int(length)) if length else self._chunks()
            environ = {
                **os.environ, "GIT_PROJECT_ROOT": os.fspath(root), "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": unquote(path), "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }  # fmt: skip
            done = subprocess.run(
                ["git", "http-backend"], env=environ, input=body, capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _chunks(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return b""
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
