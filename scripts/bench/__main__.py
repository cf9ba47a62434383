"""`scripts/bench/run`: measure, show, keep."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from resolver.errors import PkgviewError
from scripts.bench import page
from scripts.bench.bench import Bench
from scripts.bench.measure import Sheet
from scripts.bench.parts import PARTS
from scripts.bench.results import Results, begun
from scripts.bench.rivals import RIVALS
from scripts.bench.table import show
from scripts.bench.targets import judged
from scripts.bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """
examples:
  scripts/bench/run                            everything: some 20 minutes on an idle machine
  scripts/bench/run calls import --rounds 5    two parts, five rounds each
  scripts/bench/run --rivals ext4,devfuse      beside fewer
  scripts/bench/run --quick                    whether all of it works, on a small environment
  scripts/bench/run --docs                     and write docs/performance.md
  scripts/bench/run --again --docs --json FILE    from what was measured before

As root it also measures the kernel's squashfs and overlayfs, and everything cold. The Debian
packages squashfs-tools and squashfuse are used where they are installed.
"""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench/run",
        description="Measure pkgview beside other file systems and uv, in rounds that take turns.",
        epilog=EXAMPLES + "\nparts:\n"
        + "".join(f"  {name:11} {part.title}\n" for name, part in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure; default: all")
    parser.add_argument("--rounds", type=int, help="for every part; each has its own default")
    parser.add_argument("--quick", action="store_true", help="a small environment, one round")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="default: %(default)s")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "pkgview-bench",
        help="keeps downloads and what need not be made twice; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results are kept")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/performance.md and what belongs to it"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure nothing: what --json or docs/ has"
    )
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    found = parser.parse_args(given)
    for wanted, known in ((found.parts, PARTS), (found.rivals.split(","), RIVALS)):
        for name in wanted:
            if name not in known:
                parser.error(f"there is no {name!r}; there are {', '.join(known)}")
    if found.docs and found.quick:
        parser.error("what was measured quickly is no documentation")
    return found


def measured(given: argparse.Namespace, progress: Console) -> Results:
    """Do all parts; one that fails does not keep the others from being measured."""
    results = begun(quick=given.quick)
    began = time.monotonic()
    work = Work(given.work.absolute(), quick=given.quick)
    with work.alone(), ExitStack() as stack:
        progress.print(f"Preparing {work.root}")
        parts = [PARTS[name] for name in given.parts or PARTS]
        bench = Bench(
            work=work,
            key=work.prepare() if any(part.python for part in parts) else "",
            asked_rounds=given.rounds,
            wanted=given.rivals.split(","),
            stack=stack,
            skipped=results.skipped,
        )
        for name in given.parts or PARTS:
            part = PARTS[name]
            progress.print(f"{time.monotonic() - began:5.0f} s  {part.title}")
            sheet = results.parts[name] = Sheet(title=part.title)
            started = time.monotonic()
            try:
                part.measure(bench, sheet)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are measured
                sheet.failed = str(error) or type(error).__name__
                progress.print_exception()
            sheet.seconds = round(time.monotonic() - started, 1)
            _keep(results, given.json or work.root / "results.json", began)
    return results


def _keep(results: Results, path: Path, began: float) -> None:
    """After each part: what was measured is not lost with what fails later."""
    results.finish(time.monotonic() - began)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results.to_json(), "utf-8")


def main() -> int:
    """Exit status 1: a part failed, or with --check a target was missed."""
    given = arguments()
    # Ended from outside, it unmounts as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Console(stderr=True)
    try:
        if given.again:
            kept = given.json or page.RESULTS
            results = Results.from_json(kept.read_text("utf-8"))
        else:
            results = measured(given, progress)
    except (PkgviewError, OSError, ValueError) as error:
        progress.print(f"scripts/bench/run: {error}", style="red", markup=False)
        return 1
    # What is no terminal is as wide as the tables are.
    show(results, Console(width=None if sys.stdout.isatty() else 200))
    if given.docs:
        page.write(results)
    failed = any(sheet.failed for sheet in results.parts.values())
    missed = given.check and any(verdict.holds is False for verdict in judged(results))
    return int(failed or missed)


if __name__ == "__main__":
    sys.exit(main())
