"""The docs name what there is: paths, links, modules, commands, options; so does the drawing."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.docs.pages import Tree, anchors, code_of, faults, path_faults

TREE = Tree(Path(__file__).resolve().parents[2])
PAGES = [
    "README.md",
    *sorted(path for path in TREE.files if path.startswith("docs/") and path.endswith(".md")),
]
SOURCES = [
    path
    for path in TREE.files
    if path.startswith(("resolver/", "unionfs/")) and path.endswith(".py")
]
DRAWING = "docs/architecture.svg"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_there_is(page: str) -> None:
    assert list(faults(TREE, page, TREE.text(page))) == []


def test_the_page_of_commands_is_made_from_them() -> None:
    made = runpy.run_path(str(TREE.root / "scripts/commands"))["page"]()
    assert made == TREE.text("docs/commands.md"), "run scripts/commands"


def test_so_do_the_sources() -> None:
    assert [fault for path in SOURCES for fault in path_faults(TREE, path, TREE.text(path))] == []


def test_the_changes_lead_to_pages_that_there_are() -> None:
    links = (one for one in code_of(TREE.text("CHANGELOG.md")) if one.startswith("docs/"))
    assert [one for one in links if not TREE.has(one)] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("See `unionfs/up.py`.", "there is no unionfs/up.py"),
        ("See unionfs/up.py.", "there is no unionfs/up.py"),
        ("See `resolver/<kind>/lock.txt`.", "there is no resolver/<kind>/lock.txt"),
        ("See `unionfs/formats/*/gone.py`.", "there is no unionfs/formats/*/gone.py"),
        ("See [it](../unionfs/up.py).", "the link ../unionfs/up.py leads nowhere"),
        ("See [it](../../unionfs/view).", "the link ../../unionfs/view leads nowhere"),
        ("See [it](store.md#nowhere).", "the link store.md#nowhere leads nowhere"),
        ("# Here\n\nSee [it](#there).", "the link #there leads nowhere"),
        ("See `conversation.py`.", "there is no module conversation.py"),
        ("See `zip/path.py`.", "there is no module zip/path.py"),
        ("See `unionfs.zero`.", "there is no unionfs.zero"),
        ("`unionfs.view.union.Onion` is pure.", "there is no unionfs.view.union.Onion"),
        ("Say `pkgview fetch`.", "there is no command `pkgview fetch`"),
        ("Say `pkgview store mend`.", "there is no command `pkgview store mend`"),
        ("Say `pkgview up --quick`.", "`pkgview up` has no --quick"),
        ("Say `store verify --mend`.", "`pkgview store verify` has no --mend"),
        ("Say `pkgview run --view X -- ls --all`.", "`pkgview run` has no --view"),
        ("```console\n$ cd x && pkgview view --tree\n```\n", "`pkgview view` has no --tree"),
        ("So:\n\n    pkgview gc --all   # all\n", "`pkgview gc` has no --all"),
        ("Say `--quickly`.", "no command has --quickly"),
        ("Set `PKGVIEW_SPEED`.", "nothing reads PKGVIEW_SPEED"),
    ],
)
def test_what_is_gone_is_named(text: str, fault: str) -> None:
    assert f"docs/page.md: {fault}" in set(faults(TREE, "docs/page.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "See [it](store.md#collecting), [that](https://example.org/x) and [this](../unionfs/view).",
        "`unionfs/formats/<kind>/`, `resolver/*/lock.py`, `scripts/bench/run --docs`, `pin.py`",
        "`unionfs.view.union.Union` and `python -m unionfs.daemon`",
        "`pkgview run --with rich -- python -m rich --all`, `pkgview run ls --color`",
        "`pkgview up --group docs [DIR]`, `pkgview store verify --repair; pkgview gc --dry-run`",
        "pkgview keeps views, `pkgview: DIR has no view yet`, and `--check-hash-based-pycs always`",
    ],
)
def test_what_is_there_is_not(text: str) -> None:
    assert list(faults(TREE, "docs/page.md", text)) == []


def test_headings_have_the_anchors_of_the_page_that_shows_them() -> None:
    text = "# A `b` c\n## Rule 2: it's [so](x.md), you see\n## A b C\n```\n# no heading\n```\n"
    assert anchors(text) == {"a-b-c", "rule-2-its-so-you-see", "a-b-c-1"}


def test_every_page_is_linked_from_the_first() -> None:
    first = TREE.text("README.md")
    assert [page for page in PAGES if f"]({page})" not in first] == ["README.md"]


@pytest.mark.parametrize("package", ["unionfs", "resolver"])
def test_the_drawing_has_the_floors_that_imports_are_held_to(package: str) -> None:
    configured = tomllib.loads(TREE.text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    floors = next(one["layers"] for one in configured if one["name"] == f"The floors of {package}")
    drawn = _element(package).iter(f"{SVG}text")
    assert [text.text for text in drawn] == [floor.replace(" | ", " · ") for floor in floors]


@pytest.mark.parametrize("way", ["up", "walk"])
def test_the_stops_of_a_way_are_on_floors(way: str) -> None:
    names = [*_element("unionfs").iter(f"{SVG}rect"), *_element("resolver").iter(f"{SVG}rect")]
    middles = {float(one.attrib["y"]) + float(one.attrib["height"]) / 2 for one in names}
    stops = [float(one.attrib["cy"]) for one in _element(way).iter(f"{SVG}circle")]
    assert len(stops) > 5
    assert set(stops) <= middles


def test_the_page_explains_each_folder_and_each_stop() -> None:
    page = TREE.text("docs/architecture.md")
    for package in ("unionfs", "resolver"):
        folders = {path.split("/")[1] for path in SOURCES if path.count("/") > 1}
        drawn = [text.text or "" for text in _element(package).iter(f"{SVG}text")]
        names = [name for floor in drawn for name in floor.split(" · ") if name in folders]
        assert [name for name in names if f"| `{name}/` |" not in page] == []
    steps = re.findall(r"^(\d+)\. \*\*", page, re.MULTILINE)
    letters = re.findall(
        r"[a-z]", " ".join(re.findall(r"^\* \*\*([a-z, ]+)\.\*\*", page, re.MULTILINE))
    )
    assert _marks("up") == steps
    assert _marks("walk") == letters


def test_the_drawing_is_small_and_needs_nothing_else() -> None:
    text = TREE.text(DRAWING)
    assert len(text) < 15_000
    assert not any(word in text for word in ("@import", "@font-face", "href", "url("))


def _marks(way: str) -> list[str | None]:
    return [one.text for one in _element(way).iter(f"{SVG}text") if one.get("class") == "dot"]


def _element(name: str) -> ET.Element:
    drawing = ET.fromstring(TREE.text(DRAWING))  # noqa: S314 - our own
    found = drawing.find(f".//{SVG}g[@id='{name}']")
    assert found is not None
    return found
