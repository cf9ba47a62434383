"""`scripts/bench/run`: what judges and shows the numbers, and one run of it for real."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from scripts.bench import page
from scripts.bench.__main__ import arguments, measured
from scripts.bench.bench import Part
from scripts.bench.disk import shared_out, taken
from scripts.bench.draw import drawn
from scripts.bench.measure import Row, Sheet, turns
from scripts.bench.parts import PARTS
from scripts.bench.results import Results
from scripts.bench.table import cell, quantity
from scripts.bench.targets import TARGETS, Of, Target
from scripts.bench.work import Work
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = Path(__file__).resolve().parents[2] / "scripts/bench/run"


def test_contestants_take_turns_and_each_begins_a_round() -> None:
    took = list(turns("abc", 3, seconds=60))
    assert "".join(one for _, one in took) == "abcbcacab"
    assert [number for number, _ in took] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_no_round_is_begun_when_the_time_is_over_but_the_first() -> None:
    assert [one for _, one in turns("ab", 9, seconds=-1)] == ["a", "b"]


def test_warming_up_counts_for_nothing() -> None:
    took = list(turns("ab", 9, seconds=-1, warmups=1))
    assert [number for number, _ in took] == [-1, -1, 0, 0]


def _results(**values: float) -> Results:
    sheet = Sheet(title="t")
    for rival, value in values.items():
        sheet.add("warm", rival, value)
    return Results(
        machine={"kernel": "k"}, began="now", quick=True, load_before=(0.0,), parts={"p": sheet}
    )


@pytest.mark.parametrize(
    ("ours", "at_least", "holds"),
    [(1.4, False, True), (1.6, False, False), (1.6, True, True), (1.4, True, False)],
)
def test_a_target_is_judged_by_the_ratio(ours: float, at_least: bool, holds: bool) -> None:  # noqa: FBT001 - a table's cells
    target = Target(
        name="n",
        value=Of("p", "warm", "devfuse"),
        over=Of("p", "warm", "ext4"),
        limit=1.5,
        at_least=at_least,
    )
    assert target.judge(_results(devfuse=2 * ours, ext4=2.0)).holds is holds


@pytest.mark.parametrize(("bound", "holds"), [(1.0, None), (0.4, False)])
def test_what_not_even_the_bound_would_meet_is_no_miss(bound: float, holds: bool | None) -> None:  # noqa: FBT001 - as above
    target = Target(
        name="n",
        value=Of("p", "warm", "rival"),
        over=Of("p", "warm", "ours"),
        limit=10,
        at_least=True,
        bound=(Of("p", "warm", "floor"), "the floor"),
    )
    verdict = target.judge(_results(rival=6.0, ours=2.0, floor=bound))
    assert verdict.holds is holds
    assert ("the floor gives 6×" in verdict.shown[3]) is (holds is None)
    # Who meets it has met it, whatever was taken for its bound.
    assert target.judge(_results(rival=6.0, ours=0.5, floor=bound)).holds is True


def test_what_was_not_measured_is_not_judged() -> None:
    assert {target.judge(_results(ext4=1.0)).holds for target in TARGETS} == {None}


def test_medians_survive_as_json() -> None:
    results = _results(ext4=3.0)
    results.parts["p"].add("warm", "ext4", 1.0)
    results.parts["p"].add("warm", "ext4", 2.0)
    kept = Results.from_json(results.to_json())
    assert kept.median("p", "warm", "ext4") == 2.0
    assert kept.to_json() == results.to_json()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1.23456, "s", "1.23 s"),
        (0.0123, "s", "12.3 ms"),
        (9.996e-7, "s", "1.00 µs"),
        (2e-8, "s", "0.02 µs"),
        (1_234_567, "B", "1.23 MB"),
        (53_597, "files", "53,597"),
    ],
)
def test_quantities_have_three_figures(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


def test_a_cell_tells_how_many_times_the_base_it_is() -> None:
    base = Row(what="w", rival="ext4", unit="s", values=[0.5])
    assert cell(base, base) == "500 ms"
    assert cell(Row(what="w", rival="devfuse", unit="s", values=[0.6]), base) == "600 ms (×1.20)"
    assert cell(None, base) == ""


@pytest.fixture
def short() -> Iterator[Path]:
    """Control sockets lie below it, and a socket's name is short."""
    path = Path(tempfile.mkdtemp(prefix="pb-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.fuse
@pytest.mark.network
def test_a_quick_run_measures_shows_keeps_and_leaves_nothing_mounted(short: Path) -> None:
    kept = short / "results.json"
    command = [str(RUN), "calls", "import", "--quick", "--rivals", "ext4,devfuse"]
    done = subprocess.run(
        [*command, "--work", str(short), "--json", str(kept)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "open + close" in done.stdout
    parts = json.loads(kept.read_text("utf-8"))["parts"]
    for part, what in (("calls", "open + close"), ("calls", "listdir"), ("import", "warm")):
        rows = {row["rival"]: row for row in parts[part]["rows"] if row["what"] == what}
        assert rows["devfuse"]["median"] > 0
    counts = [row["median"] for row in parts["import"]["rows"] if row["unit"] == "modules"]
    assert len(counts) == 2
    assert min(counts) > 100
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(short)]
    again = subprocess.run(
        [RUN, "--again", "--json", kept], check=True, capture_output=True, text=True
    )
    assert again.stdout == done.stdout
    wrong = subprocess.run([RUN, "nonsense"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "there is no 'nonsense'" in wrong.stderr


def test_the_page_and_its_pictures_say_what_the_results_say() -> None:
    results = Results.from_json(page.RESULTS.read_text("utf-8"))
    text = page.PAGE.read_text("utf-8")
    assert page.filled(text, results) == text
    shown = {path.name: path.read_text("utf-8") for path in page.RESULTS.parent.glob("*.svg")}
    assert shown == page.pictures(results)
    assert all(f"performance/{name}" in text for name in shown)


def test_the_page_has_a_place_for_every_part() -> None:
    text = page.PAGE.read_text("utf-8")
    assert [name for name in PARTS if f"<!-- measured: {name} -->" not in text] == []
    assert text.count("<!-- measured: ") == text.count("<!-- end -->") == len(PARTS) + 2


def test_only_what_is_between_marks_is_replaced() -> None:
    text = "a\n<!-- measured: p -->\nold\n<!-- end -->\nb\n"
    filled = page.filled(text, _results(ext4=1.0))
    assert filled.startswith("a\n<!-- measured: p -->\n")
    assert filled.endswith("<!-- end -->\nb\n")
    assert "old" not in filled
    assert "| warm | 1.00 s |" in filled
    assert page.filled(filled, _results(ext4=1.0)) == filled


def test_pictures_are_sound_and_bars_are_as_long_as_values() -> None:
    sheet = Sheet(title="<t> & more")
    sheet.add("w", "ext4", 1.0)
    sheet.add("w", "devfuse", 2.0)
    root = ET.fromstring(drawn(sheet, ("w",)))  # noqa: S314 - made just now
    bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars[1] == pytest.approx(2 * bars[0], rel=0.01)


def test_what_is_made_once_is_made_again_if_it_was_left_half_made(short: Path) -> None:
    work = Work(short, quick=True)
    made: list[str] = []

    def make(path: Path) -> None:
        made.append("x")
        path.mkdir()
        if len(made) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.once("thing", "key", make)
    for key in ("key", "key", "other"):
        work.once("thing", key, make)
    assert len(made) == 3


def test_a_hard_link_takes_no_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    before = taken(tmp_path)
    (tmp_path / "link").hardlink_to(tmp_path / "file")
    assert 100_000 <= before == taken(tmp_path)


def test_two_thirds_of_each_project_are_everybodys(tmp_path: Path) -> None:
    wheels = [tmp_path / f"w{number}-1-py3-none-any.whl" for number in range(120)]
    for number, wheel in enumerate(wheels):
        wheel.write_bytes(bytes(number))
    projects = shared_out(wheels, 10)
    common = set.intersection(*map(set, projects))
    assert [len(common) / len(set(project)) for project in projects] == [pytest.approx(2 / 3)] * 10


def test_the_time_of_a_failed_part_is_not_lost_with_it(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_bench: object, sheet: Sheet) -> None:
        sheet.add("half", "ext4", 1.0)
        raise OSError("no more")

    monkeypatch.setattr(Work, "prepare", lambda _work: "key")
    monkeypatch.setitem(PARTS, "calls", Part(title="Fails", measure=fails))
    monkeypatch.setitem(PARTS, "reads", Part(title="Works", measure=lambda _bench, _sheet: None))
    given = arguments(["calls", "reads", "--work", str(short), "--json", str(short / "kept")])
    results = measured(given, Console(stderr=True))
    assert results.parts["calls"].failed == "no more"
    assert results.median("calls", "half", "ext4") == 1.0
    assert results.parts["reads"].failed is None
    assert (short / "kept").read_text("utf-8") == results.to_json()
