"""All that can be measured, in the order in which it is."""

from __future__ import annotations

from scripts.bench import files, programs
from scripts.bench.bench import Part

PARTS = {
    "calls": Part(title="One call, warm", measure=files.calls),
    "reads": Part(title="Pages of a large shared object", measure=files.reads),
    "import": Part(title="A program of a thousand modules", measure=programs.imports),
    "parallel": Part(title="Many programs at once", measure=programs.parallel),
    "walks": Part(title="The whole tree", measure=files.walks),
}
