"""When a program was started whose starter has ended: real processes, in a pid namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ORPHANS = """
import json, os, signal, subprocess, sys, time
from resolver.caller.procfs import read_stat
from unionfs.upkeep.began import began, itself

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
FORK = "import os, time; os.fork() and {then}; os.fork() and os._exit(0); time.sleep(60)"


def orphan(*command, middle="", **variables):
    # A shell starts it and ends, or waits within a session of its own.
    script = f'{middle} "$@" > /dev/null & echo $!'
    done = subprocess.run(["sh", "-c", script, "sh", *command], stdout=subprocess.PIPE,
                          text=True, env={**os.environ, **variables})
    return settled(int(done.stdout))


def settled(pid):
    time.sleep(0.3)
    return read_stat(pid)


def found(stat):
    return [began(stat), itself(stat)]


def children(parent):
    every = (read_stat(int(pid)) for pid in os.listdir("/proc") if pid.isdecimal())
    return [stat for stat in every if getattr(stat, "ppid", None) == parent]


said = {"first": itself(read_stat(1))}
time.sleep(0.5)
said["plain"] = found(orphan(*SLEEP))

# A session whose leader, a shell, lives.
leader = subprocess.Popen(["setsid", "sh", "-c", '("$@" & echo $!); sleep 60', "sh", *SLEEP],
                          stdout=subprocess.PIPE, text=True)
said["session"] = found(settled(int(leader.stdout.readline())))
said["leader"] = itself(read_stat(leader.pid))
leader.kill()
leader.wait()

# What a service manager starts, by the shell that becomes it; and what that forks.
service = {"INVOCATION_ID": "1f" * 16}
main = orphan("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh", *SLEEP[:-1],
              FORK.format(then="time.sleep(60)"), **service)
said["main"] = found(main)
(forked,) = [stat for stat in children(1) if began(stat) == itself(main) and stat.pid != main.pid]
said["forked"] = found(forked)
os.kill(main.pid, signal.SIGKILL)
time.sleep(0.2)
said["without"] = found(read_stat(forked.pid))
other = orphan("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh", *SLEEP, INVOCATION_ID="2f" * 16)
said["another's"] = found(orphan(*SLEEP, SYSTEMD_EXEC_PID=str(other.pid), **service))

# A daemon that made itself: it leads a session, and is younger than its program.
before = {stat.pid for stat in children(1)}
script = "import os, time; os.fork() and (time.sleep(.5), os._exit(0)); os.setsid(); time.sleep(60)"
subprocess.run([*SLEEP[:-1], script])
(itself_daemon,) = [stat for stat in children(1) if stat.pid not in before]
said["daemon"] = found(itself_daemon)
print(json.dumps(said))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")
def test_what_outlived_its_starter_is_no_older_than_what_it_comes_from() -> None:
    command = 'python=$1; shift; "$python" -P -c "$@"; :'
    done = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "--kill-child", "sh", "-c", command, "sh",
         sys.executable, ORPHANS],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    first = said["first"]
    assert said["plain"][0] == first < said["plain"][1]
    assert said["session"][0] == said["leader"] > first
    assert said["main"][0] == said["main"][1] > first
    assert said["forked"][0] == said["main"][1]
    assert [said[one][0] for one in ("without", "another's", "daemon")] == [first] * 3
