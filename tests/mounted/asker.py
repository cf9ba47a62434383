"""What asker.c is, as a Python program: `python asker.py MOUNT SOCKET [DESCRIPTOR]`.

It knows link, thread, cd, fork, exec and exit, and `threads COUNT`: so many that ask at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

MOUNT, ADDRESS, *INHERITED = sys.argv[1:]


def attend(connection: socket.socket) -> socket.socket:
    """Say who is there."""
    connection.set_inheritable(True)
    connection.sendall(f"pid\t{os.getpid()}\t{connection.fileno()}\n".encode())
    return connection


def connected() -> socket.socket:
    """A connection of its own."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(ADDRESS)
    return attend(connection)


def link() -> str:
    """Where the link leads."""
    return os.readlink(f"{MOUNT}/current")


def in_threads(count: int) -> str:
    """The same, asked by new threads at once; all get the same answer."""
    import threading  # noqa: PLC0415 - most need none

    found: list[str] = []
    together = threading.Barrier(count)

    def ask() -> None:
        together.wait()
        found.append(link())

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (answer,) = set(found)
    return answer


def run(variables: str, *rest: str) -> None:
    """Become another program."""
    count = int(variables)
    environ = dict(variable.split("=", 1) for variable in rest[:count])
    os.execve(rest[count], list(rest[count + 1 :]), environ)  # noqa: S606 - what it is for


def main() -> None:  # noqa: C901 - one branch a verb
    """Answer until told to end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    talk = attend(socket.socket(fileno=int(INHERITED[0]))) if INHERITED else connected()
    received = b""
    while True:
        line, newline, received = received.partition(b"\n")
        if not newline:
            part = talk.recv(65536)
            if not part:
                return
            received = line + part
            continue
        verb, *words = line.decode().split("\t")
        answer = "ok"
        try:
            match verb:
                case "link":
                    answer = link()
                case "thread":
                    answer = in_threads(1)
                case "threads":
                    answer = in_threads(int(words[0]))
                case "cd":
                    os.chdir(words[0])
                case "fork":
                    child = os.fork()
                    if not child:
                        talk.close()
                        talk = connected()
                        continue
                    answer = str(child)
                case "exec":
                    run(*words)
                case "exit":
                    os._exit(0)
        except OSError as error:
            answer = f"errno {error.errno}"
        talk.sendall(f"{answer}\n".encode())


if __name__ == "__main__":
    main()
