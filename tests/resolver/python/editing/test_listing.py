from __future__ import annotations

import pytest

from resolver.python.editing.listing import with_line, without

TEXT = """\
# What the shop needs
-r common.txt
rich>=14  # for the prompt
six==1.17.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb

Zope_Event
-e ./lib"""


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ("httpx", "-e ./lib", "-e ./lib\nhttpx\n"),
        ("rich>=15", "rich>=14  # for", "rich>=15  # for"),
        ("rich", "", ""),
        ("zope.event", "", ""),
        ("zope.event<6", "Zope_Event\n", "zope.event<6\n"),
        ("-e ./lib", "-e ./lib", "-e ./lib\n"),
        ("-e ./other", "-e ./lib", "-e ./lib\n-e ./other\n"),
    ],
)
def test_with(line: str, old: str, new: str) -> None:
    assert with_line(TEXT, line) == TEXT.replace(old, new)


def test_of_an_empty_file() -> None:
    assert with_line("", "rich") == "rich\n"
    assert without("rich\n", "rich") == ""


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("Rich", "rich>=14  # for the prompt\n"),
        ("six", "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"),
        ("zope-event", "Zope_Event\n"),
        ("-e ./lib", "-e ./lib"),
    ],
)
def test_without(name: str, gone: str) -> None:
    assert gone in TEXT
    assert without(TEXT, name) == TEXT.replace(gone, "")


def test_what_is_not_listed() -> None:
    assert without(TEXT, "common") is None
    assert without(TEXT, "what") is None
