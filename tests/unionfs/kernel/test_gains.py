from __future__ import annotations

import pytest

from unionfs.kernel import gains
from unionfs.kernel.abi import Init

MAINLINE = "#1 SMP PREEMPT_DYNAMIC"


@pytest.mark.parametrize(
    ("release", "version", "on"),
    [
        ("5.4.0", MAINLINE, True),
        ("5.15.195", MAINLINE, True),
        ("5.15.196", MAINLINE, False),
        ("5.15.197", MAINLINE, False),
        ("5.15.198", MAINLINE, True),
        ("6.1.157", MAINLINE, True),
        ("6.1.158-custom", MAINLINE, False),
        ("6.1.160", MAINLINE, True),
        ("6.6.114", MAINLINE, True),
        ("6.6.119", MAINLINE, False),
        ("6.6.120", MAINLINE, True),
        ("6.8.12", MAINLINE, True),
        ("6.9", MAINLINE, False),
        ("6.12.63", MAINLINE, False),
        ("6.12.64", MAINLINE, True),
        ("6.14.11", MAINLINE, False),
        ("6.18.2", MAINLINE, False),
        ("6.18.3", MAINLINE, True),
        ("6.18.44-fc-v657", MAINLINE, True),
        ("6.19.0-rc2", MAINLINE, True),
        ("7.1.0", MAINLINE, True),
        # Debian's release says less than its version.
        ("6.1.0-41-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)", False),
        ("6.1.0-43-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.162-1 (2026-02-08)", True),
        ("6.12.63+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.63-1 (2025-12-30)", False),
        ("6.12.73+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.73-1 (2026-02-17)", True),
        # Who puts changes of their own into a number says nothing with it, until it is new enough.
        ("5.14.0-611.el9.x86_64", MAINLINE, False),
        ("6.8.0-90-generic", "#91-Ubuntu SMP PREEMPT_DYNAMIC", False),
        ("6.1.158-180.294.amzn2023.x86_64", MAINLINE, False),
        ("6.4.0-150600.23.81-default", MAINLINE, False),
        ("7.0.0-12-generic", "#12-Ubuntu SMP PREEMPT_DYNAMIC", True),
        ("nonsense", MAINLINE, False),
    ],
)
def test_which_kernels_may_be_refused_an_open(release: str, version: str, *, on: bool) -> None:
    gain = gains.opens(Init.NO_OPEN_SUPPORT, release, version)
    assert gain.on is on
    assert gain.why.endswith("CVE-2025-68821")


def test_what_the_kernel_does_not_offer_is_not_used() -> None:
    assert gains.opens(0, "7.1.0", MAINLINE).on is False
    assert gains.opendirs(0).on is False
    assert gains.opendirs(Init.NO_OPENDIR_SUPPORT).on is True
