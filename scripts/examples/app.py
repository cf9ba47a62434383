"""An ordinary program, the same in each example project; it tells what it can import.

It prints two lines of JSON: what the process sees, and, once it was sent a line, what a thread
of it sees by then, and a child that was started in another directory. It knows nothing of
pkgview.
"""

import importlib
import importlib.metadata
import json
import subprocess
import sys
import threading

# A package, and a part of it that importing the package does not import.
LIBRARIES = {
    "numpy": "numpy.polynomial.chebyshev",
    "rich": "rich.tree",
    "packaging": "packaging.tags",
}


def look(*, deep: bool) -> dict[str, object]:
    """Version and place of each library, or None; `deep` imports a further part of it."""
    seen: dict[str, object] = {}
    for name, part in LIBRARIES.items():
        try:
            module = importlib.import_module(part if deep else name)
        except ModuleNotFoundError:
            seen[name] = None
        else:
            seen[name] = {
                "version": importlib.metadata.version(name),
                "file": module.__file__,
            }
    if seen["numpy"] is not None:
        import numpy as np  # noqa: PLC0415 - not every project has it

        # Compiled code at work. numpy 2 shows its scalars in another way than numpy 1 did.
        seen["repr"] = repr((np.arange(5.0) @ np.ones(5)) / 4)
    return seen


def main() -> None:
    """Look, wait until the other programs have looked too, and look again."""
    if "--child" in sys.argv:
        print(json.dumps(look(deep=True)))
        return
    print(json.dumps({"main": look(deep=False), "prefix": sys.prefix}), flush=True)
    sys.stdin.readline()
    later: dict[str, object] = {}
    thread = threading.Thread(target=lambda: later.update(thread=look(deep=True)))
    thread.start()
    thread.join()
    child = subprocess.run(
        [sys.executable, __file__, "--child"], cwd="/", check=True, capture_output=True
    )
    later["child"] = json.loads(child.stdout)
    print(json.dumps(later), flush=True)


if __name__ == "__main__":
    main()
