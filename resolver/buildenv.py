"""What of the environment changes what a build makes.

A build runs others' code, which may read any variable; that all of them count would mean to build
everything again in every shell. So those count which tools read by convention, for whatever they
build; what one distribution alone reads by a name of its own does not.

* compilers and what is around them: GNU make's implicit variables, setuptools'
  (`_distutils/sysconfig.py`), gcc(1)'s own, pkg-config's, Fortran's;
* back ends: CMake and scikit-build-core, meson, maturin, cargo and rustc, Cython, hatchling,
  setuptools and setuptools-scm, numpy's; SOURCE_DATE_EPOCH for all;
* uv's, as far as they decide what a build is made with: `uv build --help`.

On the way of a start that has next to nothing to do: loads nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RESOLVING = frozenset({
    "UV_AMD_GPU_ARCHITECTURE", "UV_CONSTRAINT", "UV_CUDA_DRIVER_VERSION", "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER", "UV_FORK_STRATEGY", "UV_INDEX_STRATEGY", "UV_NO_SOURCES",
    "UV_NO_SOURCES_PACKAGE", "UV_OVERRIDE", "UV_PRERELEASE", "UV_RESOLUTION", "UV_TORCH_BACKEND",
})  # fmt: skip
"""uv's variables that change what a resolution comes to, of builds, too; but for `INDEXES`."""

INDEXES = frozenset({
    "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX",
    "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL",
    "UV_NO_INDEX",
})  # fmt: skip
"""Variables that say where packages are from. They may hold a password that is another one every
hour, so they count without (`index_variables`)."""

VARIABLES = frozenset({
    "AR", "ARFLAGS", "ARCHFLAGS", "AS", "BLAS", "CC", "CC_LD", "CFLAGS", "CPATH", "CPP",
    "CPPFLAGS", "CPLUS_INCLUDE_PATH", "CXX", "CXXFLAGS", "CXX_LD", "C_INCLUDE_PATH",
    "DIST_EXTRA_CONFIG", "DISTUTILS_USE_SDK", "F77", "F90", "FC", "FCFLAGS", "FFLAGS",
    "GCC_EXEC_PREFIX", "LAPACK", "LD", "LDCXXSHARED", "LDFLAGS", "LDLIBS", "LDSHARED",
    "LD_RUN_PATH", "LIBRARY_PATH", "NM", "OPT", "PKG_CONFIG", "RANLIB", "RUSTC", "RUSTC_WRAPPER",
    "RUSTDOCFLAGS", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "SOURCE_DATE_EPOCH", "STRIP",
    "UV_BUILD_CONSTRAINT", "UV_GIT_LFS", "UV_NO_BUILD_ISOLATION", "UV_NO_BUILD_PACKAGE",
    "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "_PYTHON_HOST_PLATFORM",
    *RESOLVING,
})  # fmt: skip

PREFIXES = (
    "CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CMAKE_", "CYTHON_", "HATCH_", "MATURIN_",
    "MESON_", "NPY_", "PKG_CONFIG_", "PYO3_", "SETUPTOOLS_", "SKBUILD_",
)  # fmt: skip


def build_variables(environ: Mapping[str, str]) -> list[str]:
    """`NAME=value` of those that are set, sorted; empty ones are as good as absent."""
    return sorted(
        f"{name}={value}"
        for name, value in environ.items()
        if value and (name in VARIABLES or name.startswith(PREFIXES))
    )


def index_variables(environ: Mapping[str, str], prefix: str = "") -> list[str]:
    """`NAME=value` of `INDEXES` that are set, sorted, without users and passwords in addresses.

    Of those whose names begin with `prefix`.
    """
    return sorted(
        f"{name}={' '.join(map(_without_user, _words(name, value)))}"
        for name, value in environ.items()
        if value and name in INDEXES and name.startswith(prefix)
    )


def relative_indexes(environ: Mapping[str, str]) -> bool:
    """Whether one of uv's is a path that is relative to where uv runs."""
    words = (
        word.partition("=")[2] or word
        for name, value in environ.items()
        if name in INDEXES and name.startswith("UV_") and name != "UV_NO_INDEX"
        for word in _words(name, value)
    )
    return any("://" not in word and not word.startswith(("/", "file:")) for word in words)


def _words(name: str, value: str) -> list[str]:
    """Addresses and paths; uv has commas between those of links.

    pip's paths are relative to where we are, and uv's to where it runs, which is the project's.
    """
    words = (value.replace(",", " ") if name == "UV_FIND_LINKS" else value).split()
    if not name.startswith("PIP_") or name == "PIP_NO_INDEX":
        return words
    return [word if ":" in word else os.path.abspath(word) for word in words]


def _without_user(word: str) -> str:
    """As `resolver.fetch.addresses.without_userinfo`, which takes longer to load."""
    before, slashes, rest = word.partition("://")
    end = min((at for at in map(rest.find, "/?#\\") if at >= 0), default=len(rest))
    return before + slashes + rest[rest.rfind("@", 0, end) + 1 :] if slashes else word


def uv_files(environ: Mapping[str, str]) -> list[str]:
    """The system's and the user's files with settings of uv that are there, the last one first."""
    if named := environ.get("UV_CONFIG_FILE"):
        return [named]
    if environ.get("UV_NO_CONFIG"):
        return []
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    system = [] if environ.get("UV_NO_SYSTEM_CONFIG") else ["/etc/uv/uv.toml"]
    return [path for path in (f"{home}/uv/uv.toml", *system) if os.path.isfile(path)]


def pip_files(environ: Mapping[str, str]) -> list[str]:
    """Where pip looks for its settings, whether there is a file or not, the last word last."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = environ.get("HOME") or os.path.expanduser("~")
    shared = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)[::-1]
    own = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return [
        *(f"{directory}/pip/pip.conf" for directory in shared if directory.startswith("/")),
        "/etc/pip.conf",
        f"{home}/.pip/pip.conf",
        f"{own}/pip/pip.conf",
        *([named] if named else []),
    ]
