import os, time, signal, subprocess
from tests.mounted.conftest import _mount as mount
from tests.mounted.remote.conftest import noise, until
from tests.mounted.remote.test_lazy import *


def show(p):
    for f in ("status", "syscall", "wchan"):
        t = open(f"/proc/{p.pid}/{f}").read()
        if f == "status":
            t = " ".join(l for l in t.splitlines() if l.startswith(("State", "Sig", "Shd")))
        print("  ", f, t)


@pytest.mark.parametrize("prog", [FAULT, CAUGHT])
def test_it(remote, prog):
    _, site = large_and_small(remote)
    remote.faults(hang=True)
    mount(os.environ)
    p = waiting(prog, site / "large.bin")
    until(lambda: remote.status()["remote"]["waiting"])
    time.sleep(0.5)
    show(p)
    p.send_signal(signal.SIGINT)
    for i in range(12):
        time.sleep(0.5)
        print(i * 0.5, p.poll(), remote.status()["requests"], remote.status()["remote"])
        if p.poll() is not None:
            break
        show(p)
    print(open(remote.places.state / "daemon.log").read())
    p.kill()
