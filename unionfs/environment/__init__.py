"""What makes a directory tree a virtual environment: the files of a view that no wheel brings.

`skeleton` gives them as a pure function of the interpreter. The files beside it are the
contents: the activate scripts, and two Python modules that run inside the programs of a view
(`pin`, `pip_guard`), never inside pkgview.
"""

from unionfs.environment.skeleton import PIN_FILE, SkeletonFile, skeleton

__all__ = ["PIN_FILE", "SkeletonFile", "skeleton"]
