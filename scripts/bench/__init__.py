"""Measures pkgview beside what it stands beside: file systems, and an installer.

    scripts/bench/run -h

Which module knows what:

    measure    rounds that take turns, and what a part measured
    work       the directory with everything that need not be made twice
    rivals     one virtual environment on each file system
    files, programs           parts that ask these file systems
    setup, disk, packing      parts that ask pkgview and uv
    large, memory, look       parts that ask pkgview alone
    results    all of a run, as JSON
    targets    what the results are judged by
    table, draw, page         for the terminal, as SVG, in docs/performance.md
"""
