"""Let pip refuse to change a view; lies in a view's site-packages as `_pkgview_pip.py`.

pip knows environments that something else manages: it reads the file EXTERNALLY-MANAGED beside
the standard library and shows its text ("externally-managed-environment", PyPA specification).
But it does so only outside virtual environments, and a view is one. So, where pip is being run,
`guard` puts a finder before all others that waits for the one pip module with that check, lets
it load, and makes the check read the view's own file. Nothing else of pip is touched: `list`,
`check`, `download`, `install --target` and `--dry-run` never ask.

pip before 23.0 has no such check; it then fails on the read-only file system.

A copy of a view is an environment like any other, and may be changed.

Where there is no pip, `-m pip` finds one that only reads (`pip_reader.py`).
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHECKED_IN = "pip._internal.utils.misc"


def is_copy(root: str) -> bool:
    """Whether somebody has made an environment of a view, such as in an image: it is no view."""
    above, _, name = root.rpartition("/")
    is_view = above.endswith("/views") and len(name) == 32  # noqa: PLR2004 - a digest in hexadecimal
    return not is_view and not os.statvfs(root).f_flag & os.ST_RDONLY


def guard(root: str) -> None:
    """Wait for pip's check, once, on behalf of the view at `root`."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder(root))
    # A program that looks whether it can import pip must not find what is none.
    if sys.argv[:1] == ["-m"] and {"pip", "-mpip"} & set(sys.orig_argv[1:6]):
        sys.meta_path.append(_Reader())


class _Reader:
    """A meta path finder that comes last: what `-m pip` is where no pip was found before."""

    @staticmethod
    def find_spec(
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del path, target
        if fullname != "pip":
            return None
        origin = os.path.dirname(os.path.abspath(__file__)) + "/_pkgview_pip_reader.py"
        spec = ModuleSpec("pip", SourceFileLoader("pip", origin), origin=origin)
        spec.has_location = True
        return spec


class _Finder:
    """A meta path finder that is there until pip's module was found."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != _CHECKED_IN:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_replace(module: ModuleType) -> None:
            load(module)
            if hasattr(module, "check_externally_managed"):
                vars(module)["check_externally_managed"] = self.refuse

        spec.loader.exec_module = load_and_replace  # type: ignore[method-assign]
        return spec

    def refuse(self) -> None:
        """Stand in for pip's `check_externally_managed`."""
        if is_copy(self.root):
            return
        # The path is known only here: the standard library of the running Python, in the view.
        tag = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        abiflags = "t" if "t" in getattr(sys, "abiflags", "") else ""
        from pip._internal.exceptions import ExternallyManagedEnvironment

        marker = f"{self.root}/lib/{tag}{abiflags}/EXTERNALLY-MANAGED"
        raise ExternallyManagedEnvironment.from_config(marker)
