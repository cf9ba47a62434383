"""All that can be measured, in the order in which it is."""

from __future__ import annotations

from scripts.bench import (
    disk,
    files,
    first,
    large,
    large_files,
    large_wheels,
    look,
    memory,
    node,
    node_tools,
    nothing,
    packing,
    programs,
    remote,
    setup,
    start,
)
from scripts.bench.bench import Part

PARTS = {
    "calls": Part(title="One call, warm", measure=files.calls),
    "reads": Part(title="Pages of a large shared object", measure=files.reads),
    "import": Part(title="A program of a thousand modules", measure=programs.imports),
    "parallel": Part(title="Many programs at once", measure=programs.parallel),
    "setup": Part(title="From a lock to an environment", measure=setup.setups),
    "first": Part(title="A new project", measure=first.firsts),
    "nothing": Part(title="Nothing to do", measure=nothing.nothing),
    "start": Part(title="To get to a command", measure=start.starts),
    "packing": Part(title="A wheel becomes an archive", measure=packing.packing),
    "large-wheels": Part(
        title="Wheels of a gigabyte", measure=large_wheels.large_wheels, python=False
    ),
    "disk": Part(title="The disk that projects take", measure=disk.disks),
    "node": Part(title="From a lock to node_modules", measure=node.node, python=False),
    "node-tools": Part(title="Tools on node_modules", measure=node_tools.node_tools, python=False),
    "large": Part(title="Views of many distributions", measure=large.growth),
    "large-files": Part(title="A file of a gigabyte", measure=large_files.large_files),
    "memory": Part(title="Memory of the daemon", measure=memory.memory),
    "look": Part(title="A process is looked at", measure=look.looks),
    "remote": Part(title="From nothing, over a slow link", measure=remote.remote),
    "walks": Part(title="The whole tree", measure=files.walks),
}
