"""The files that make a view a virtual environment, and that no wheel brings.

`skeleton` gives them as a pure function of the interpreter, `waiting` those that a view has besides
while its project's own is being made, `taught` those that `pkgview enable` puts into a user's
site directory. The files beside them are the contents: the activate scripts, and Python modules
that run inside other programs (`pin`, `pip_guard`, `pip_reader`, `wait`, `enable`), never inside
pkgview.
"""

from unionfs.environment.early import ENABLE_FILE, taught, waiting
from unionfs.environment.skeleton import PIN_FILE, skeleton

__all__ = ["ENABLE_FILE", "PIN_FILE", "skeleton", "taught", "waiting"]
