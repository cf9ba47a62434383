"""Widely used distributions and all that they depend on: accepted, and as uv installs them.

`PKGVIEW_TEST_ALL=1` takes the whole list, some gigabytes; else those that are small and odd.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_environment_equal import Sides, met, tree

if TYPE_CHECKING:
    from tests.mounted.conftest import Site

pytestmark = [pytest.mark.fuse, pytest.mark.network, pytest.mark.slow]

ODD = {
    "attrs": "two packages, neither with its name",
    "certifi": "one large text that programs look for by its path",
    "cffi": "an extension beside the package, not in it",
    "colorama": "tests inside the package",
    "distlib": "Windows' programs as data",
    "docutils": "ten scripts and more, and data of many kinds",
    "jmespath": "a script that is a file, not an entry point",
    "msgpack": "an extension compiled for one Python, inside the package",
    "nodeenv": "a module without a package",
    "python-dateutil": "brings tzdata: hundreds of files without a suffix",
    "pywin32-ctypes": "of use on another system only",
    "zope.event": "a namespace package",
}
"""Small distributions, and what is odd about each."""

WIDELY_USED = [
    "aiohttp", "black", "boto3", "botocore", "celery", "click", "coverage", "cryptography",
    "cython", "django", "fastapi", "flask", "fonttools", "fsspec", "google-api-core",
    "greenlet", "grpcio", "h5py", "httpx", "hypothesis", "ipython", "jinja2", "jupyterlab",
    "lxml", "matplotlib", "mypy", "networkx", "numba", "numpy", "opencv-python-headless",
    "pandas", "pillow", "pip", "poetry-core", "polars", "protobuf", "psutil",
    "psycopg2-binary", "pyarrow", "pydantic", "pygments", "pytest", "pyyaml", "pyzmq",
    "requests", "rich", "ruff", "scikit-learn", "scipy", "seaborn", "selenium", "setuptools",
    "sqlalchemy", "statsmodels", "sympy", "tornado", "tqdm", "transformers", "twisted",
    "virtualenv", "wheel", "zope.interface",
]  # fmt: skip


INFO = "lib/python3.*/site-packages/*.dist-info"


@pytest.mark.timeout(1800)  # all of them: minutes, most of which the network takes
def test_a_view_of_them_is_what_uv_installs(site: Site) -> None:
    everything = os.environ.get("PKGVIEW_TEST_ALL") == "1"
    asked = [*ODD, *WIDELY_USED] if everything else list(ODD)
    directory = site.project("real wheels")
    (directory / "requirements.txt").write_text("\n".join(asked) + "\n")
    site.pkgview("lock", "--python", site.python, cwd=directory)
    made = site.up(directory)
    assert made["distributions"] >= len(asked)
    uvs = site.uv_environment(directory, site.home / "real-by-uv")
    view = (directory / ".venv").resolve()
    sides = Sides(view=view, uvs=uvs, ours=tree(view), theirs=tree(uvs))
    # Those that setuptools brings inside itself are no distributions of the view.
    infos = [path for path in sides.ours if fnmatchcase(path, INFO) and path.count("/") == 3]
    assert len(infos) == made["distributions"]
    found = met(sides)
    assert {"site-packages/*.dist-info/RECORD", "bin/*"} <= found
