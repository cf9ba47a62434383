"""A store on a web server, as a process: `server.py DIRECTORY FAULTS LOG [PORT]`; prints its port.

It serves ranges of the files below DIRECTORY. FAULTS is a file of JSON, read with every request;
LOG gets a line of JSON for each: path, range, bytes sent. Faults:

    status, wait    answer that status, with Retry-After
    whole           ignore ranges: 200 and all of it
    past            ranges at or past the end: 416 with the whole file's length and 33 bytes
    cut             break off after so many bytes of a body; "cuts": only so often
    wrong           change the bytes of the file from the first to the second number
    drip            send one byte at a time, so many seconds between them
    delay           seconds before an answer
    rate            bytes a second, of each connection
    hang            accept, and answer nothing
    elsewhere       redirect to that URL
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path

DIRECTORY, FAULTS, LOG = map(Path, sys.argv[1:4])
_lock = threading.Lock()
_cuts: dict[int, int] = {}


def faults() -> dict[str, object]:
    try:
        said: dict[str, object] = json.loads(FAULTS.read_text())
    except (OSError, ValueError):
        return {}
    return said


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        now = faults()
        time.sleep(float(now.get("delay", 0)))  # type: ignore[arg-type]
        while now.get("hang"):
            time.sleep(0.05)
            now = faults()
        if "elsewhere" in now:
            self._head(307, 0, {"Location": f"{now['elsewhere']}{self.path}"})
            return
        if "status" in now:
            self._head(int(now["status"]), 0, {"Retry-After": str(now.get("wait", 0))})  # type: ignore[call-overload]
            return
        path = DIRECTORY / self.path.lstrip("/")
        if not path.is_file():
            self._head(404, 0, {})
            return
        content = bytearray(path.read_bytes())
        size = len(content)
        start, end = 0, size
        asked = self.headers.get("Range", "")
        if asked and not now.get("whole"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or size), size - 1) + 1
            if start >= size:
                self._head(
                    416, size if now.get("past") else 33, {"Content-Range": f"bytes */{size}"}
                )
                self.wfile.write(b"x" * 33)
                self.close_connection = True
                return
        if wrong := now.get("wrong"):
            begin, until = wrong  # type: ignore[misc]
            content[begin:until] = bytes(byte ^ 0x55 for byte in content[begin:until])
        body = memoryview(content)[start:end]
        headers = {"Accept-Ranges": "bytes", "Docker-Content-Digest": "sha256:0"}
        if (start, end) != (0, size) or (asked and not now.get("whole")):
            self._head(
                206, len(body), {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
            )
        else:
            self._head(200, len(body), headers)
        sent = 0
        try:
            if self.command != "HEAD":
                sent = self._send(body, now)
        except OSError:
            self.close_connection = True
        with _lock, LOG.open("a") as log:
            log.write(json.dumps([self.path, start, end, sent]) + "\n")

    do_HEAD = do_GET

    def _send(self, body: memoryview, now: dict[str, object]) -> int:
        cut = now.get("cut")
        if cut is not None:
            with _lock:
                count = _cuts[int(cut)] = _cuts.get(int(cut), 0) + 1  # type: ignore[call-overload]
            if count <= int(now.get("cuts", 1 << 30)):  # type: ignore[call-overload]
                self.wfile.write(body[: int(cut)])  # type: ignore[call-overload]
                self.wfile.flush()
                self.close_connection = True
                return min(int(cut), len(body))  # type: ignore[call-overload]
        if drip := now.get("drip"):
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                time.sleep(float(drip))  # type: ignore[arg-type]
        elif rate := now.get("rate"):
            piece = 1 << 14
            for place in range(0, len(body), piece):
                self.wfile.write(body[place : place + piece])
                time.sleep(piece / float(rate))  # type: ignore[arg-type]
        else:
            self.wfile.write(body)
        return len(body)

    def _head(self, status: int, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        """A client that was killed is what some tests are about."""


if __name__ == "__main__":
    port = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    with Server(("127.0.0.1", port), Requests) as server:
        print(server.server_port, flush=True)
        os.set_inheritable(1, False)
        server.serve_forever()
