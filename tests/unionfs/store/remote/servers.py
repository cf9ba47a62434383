"""Real servers for stores: Debian's docker-registry and nginx, and moto's S3."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "team", "geheim-8fJ2"
HTPASSWD = "team:$2y$04$Y.dkXx6xKkpkduqNwhnxhu/71ZB7WQ0nNQoFhz3oU9zVOZI43Jis.\n"
"""`htpasswd -nbB`, made once: the standard library has no bcrypt."""


def both() -> str:
    """User and password as files of docker and podman have them."""
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it listens."""
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
            time.sleep(0.02)
        yield server
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def registry(
    directory: Path,
    auth: dict[str, Any] | None = None,
    port: int = 0,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[str]:
    """Debian's docker-registry; its `host:port`. `tls`: a certificate and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "data")},
            "delete": {"enabled": True},
        },
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": "of the test",
            **({"tls": {"certificate": str(tls[0]), "key": str(tls[1])}} if tls else {}),
        },
        **({"auth": auth} if auth else {}),
    }
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    command = ["docker-registry", "serve", str(directory / "config.yml")]
    with running(command, port, directory / "log"):
        yield f"127.0.0.1:{port}"


S3_MODULES = ("obstore", "moto", "flask_cors")
"""What has to be installed for it."""


@dataclass(frozen=True, kw_only=True)
class S3:
    """A server that speaks S3, with one bucket."""

    bucket: ClassVar = "team"
    url: str

    def asked(self, method: str, path: str, body: str = "", service: str = "s3") -> str:
        """What it answers to one request that is signed by nobody, as long as it does."""
        kind = "application/x-www-form-urlencoded" if service == "iam" else "text/plain"
        scope = f"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request"
        request = urllib.request.Request(  # noqa: S310 - it is on this machine
            f"{self.url}{path}", method=method, data=body.encode(),
            headers={
                "Authorization": f"{scope}, SignedHeaders=host, Signature=0", "Content-Type": kind,
            },
        )  # fmt: skip
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
            return str(answer.read(), "utf-8")

    def user(self, name: str, *may: str) -> dict[str, str]:
        """The variables of one who may do that with the bucket and what is in it."""
        there = [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": list(may), "Resource": there}],
        }
        self._iam(Action="CreateUser", UserName=name)
        made = self._iam(Action="CreateAccessKey", UserName=name)
        if may:
            self._iam(
                Action="PutUserPolicy", UserName=name, PolicyName=name,
                PolicyDocument=json.dumps(policy),
            )  # fmt: skip
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": made.partition("<AccessKeyId>")[2].partition("<")[0],
            "AWS_SECRET_ACCESS_KEY": made.partition("<SecretAccessKey>")[2].partition("<")[0],
        }

    def strict(self) -> None:
        """Signatures and permissions count from now on."""
        self.asked("POST", "/moto-api/reset-auth", "0")

    def _iam(self, **what: str) -> str:
        return self.asked("POST", "/", urlencode({**what, "Version": "2010-05-08"}), "iam")


@contextmanager
def s3(directory: Path, *more: str) -> Iterator[S3]:
    """moto's, in a process of its own, with a bucket unless it speaks TLS (`more`)."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *more]
    with running(command, port, directory / "log"):
        made = S3(url=f"http://127.0.0.1:{port}")
        if not more:
            made.asked("PUT", f"/{made.bucket}")
        yield made


class Relay:
    """Between a client and `there`: breaks a connection after so many bytes to the server."""

    def __init__(self, there: str) -> None:
        name, _, port = there.partition(":")
        self._there = name, int(port)
        self.cuts: list[int] = []
        """After how many bytes of all that is sent; each once, in their order."""
        self.passed = 0
        self.connections = 0
        self._lock = threading.Lock()

    def _pass(self, one: socket.socket, other: socket.socket, *, counted: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 14):
                if counted and self._cuts(len(data)):
                    break
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cuts(self, count: int) -> bool:
        with self._lock:
            self.passed += count
            cut = bool(self.cuts) and self.passed >= self.cuts[0]
            if cut:
                self.cuts.pop(0)
            return cut

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        with connection, socket.create_connection(self._there) as there:
            ends = (there, connection)
            back = threading.Thread(target=self._pass, args=ends, kwargs={"counted": False})
            back.start()
            self._pass(connection, there, counted=True)
            back.join()


@contextmanager
def relay(there: str) -> Iterator[tuple[str, Relay]]:
    found, ended = Relay(there), threading.Event()

    def listen() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                connection = listener.accept()[0]
                connection.settimeout(None)
                threading.Thread(target=found.talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", found
        finally:
            ended.set()
            thread.join()


def basic_auth(directory: Path) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "htpasswd").write_text(HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}


@contextmanager
def nginx(directory: Path, root: Path, more: str = "") -> Iterator[str]:
    """Debian's nginx over a directory; its `host:port`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log {directory}/access; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; {more} }} }}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [program, "-c", str(directory / "nginx.conf"), "-e", str(directory / "errors")]
    with running(command, port, directory / "log"):
        yield f"127.0.0.1:{port}"


# -- a server of tokens ----------------------------------------------------------------------------


def certificate(directory: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1 that nobody vouches for, and its key."""
    directory.mkdir(parents=True, exist_ok=True)
    made, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


class Tokens:
    """Gives tokens to one user, signed as docker-registry wants them. `asked`: the scopes."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = certificate(directory)
        self.asked: list[list[str]] = []
        self.authorizations: list[str] = []
        self.realm = ""

    @property
    def auth(self) -> dict[str, Any]:
        return {
            "token": {
                "realm": self.realm, "service": "test", "issuer": "tokens",
                "rootcertbundle": str(self.certificate),
            }
        }  # fmt: skip

    def token(self, scopes: list[str], *, known: bool) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            granted = [one for one in actions.split(",") if known or one == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        body = self.certificate.read_text().split("-----")[2].replace("\n", "")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [body]}
        claims = {
            "iss": "tokens", "sub": USER, "aud": "test", "exp": now + 300, "nbf": now - 5,
            "iat": now, "jti": hashlib.sha256(str(time.time_ns()).encode()).hexdigest(),
            "access": access,
        }  # fmt: skip
        signed = f"{_url64(json.dumps(header).encode())}.{_url64(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key],
            input=signed.encode(), check=True, capture_output=True,
        ).stdout  # fmt: skip
        return f"{signed}.{_url64(signature)}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def token_server(directory: Path) -> Iterator[Tokens]:
    tokens = Tokens(directory)
    right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            given = self.headers.get("Authorization", "")
            tokens.asked.append(scopes)
            tokens.authorizations.append(given)
            status = 200 if given in {"", right} else 401
            token = tokens.token(scopes, known=given == right) if status == 200 else ""
            body = json.dumps({"token": token, "expires_in": 300}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listener:
        tokens.realm = f"http://127.0.0.1:{listener.server_address[1]}/token"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield tokens
        finally:
            listener.shutdown()
            thread.join()
