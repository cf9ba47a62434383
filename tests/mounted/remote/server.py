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
import sys
import threading
import time
from pathlib import Path
from typing import Any

DIRECTORY, FAULTS, LOG = map(Path, sys.argv[1:4])
_lock = threading.Lock()
_cuts: dict[int, int] = {}


def faults() -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(FAULTS.read_text())
    except (OSError, ValueError):
        return {}


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        now = faults()
        time.sleep(now.get("delay", 0))
        while now.get("hang"):
            time.sleep(0.05)
            now = faults()
        path = DIRECTORY / self.path.lstrip("/")
        if "elsewhere" in now:
            self._head(307, 0, Location=now["elsewhere"] + self.path)
        elif "status" in now:
            self._head(now["status"], 0, Retry_After=str(now.get("wait", 0)))
        elif not path.is_file():
            self._head(404, 0)
        else:
            self._file(path.read_bytes(), now)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _file(self, content: bytes, now: Any) -> None:  # noqa: ANN401 - JSON
        size = len(content)
        asked = "" if now.get("whole") else self.headers.get("Range", "")
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or size), size - 1) + 1
        if start >= size:
            self._head(416, size if now.get("past") else 33, Content_Range=f"bytes */{size}")
            self.wfile.write(b"x" * 33)
            self.close_connection = True
            return
        if wrong := now.get("wrong"):
            begin, until = wrong
            changed = bytes(byte ^ 0x55 for byte in content[begin:until])
            content = content[:begin] + changed + content[until:]
        if asked:
            self._head(206, end - start, Content_Range=f"bytes {start}-{end - 1}/{size}")
        else:
            self._head(200, size)
        sent = 0
        try:
            if self.command != "HEAD":
                sent = self._send(memoryview(content)[start:end], now)
        except OSError:
            self.close_connection = True
        with _lock, LOG.open("a") as log:
            log.write(json.dumps([self.path, start, end, sent]) + "\n")

    def _send(self, body: memoryview, now: Any) -> int:  # noqa: ANN401 - JSON
        cut: int | None = now.get("cut")
        if cut is not None:
            with _lock:
                count = _cuts[cut] = _cuts.get(cut, 0) + 1
            if count <= now.get("cuts", 1 << 30):
                self.wfile.write(body[:cut])
                self.wfile.flush()
                self.close_connection = True
                return min(cut, len(body))
        if drip := now.get("drip"):
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                time.sleep(drip)
        elif rate := now.get("rate"):
            piece = 1 << 14
            for place in range(0, len(body), piece):
                self.wfile.write(body[place : place + piece])
                time.sleep(piece / rate)
        else:
            self.wfile.write(body)
        return len(body)

    def _head(self, status: int, size: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
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
        print(server.server_port, flush=True)  # noqa: T201 - for who started it
        server.serve_forever()
