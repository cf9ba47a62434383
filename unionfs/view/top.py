"""The mount's own directories: what lies above the views and the archives.

    current -> views/<id>                  differs by caller: asked again on every path walk
    bin lib lib64 include share site-packages pyvenv.cfg -> current/…
    views/<id>/                            immutable: kept by the kernel for ever
    projects/<name>-<hash> -> ../views/<id>
    packages/<name>-<version>-<hash>/      one archive each, immutable

These few have the earliest time that every program takes: the kernel keeps it for ever, and
nothing that it could tell of what they lead to would stay true.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from resolver.manifest import ViewId
from unionfs.archive.layer import ROOT
from unionfs.view import attributes, nodeid
from unionfs.view.attributes import BRIEFLY, FOREVER, Absent, Attributes, FileSystemError
from unionfs.view.nodeid import ArchiveNo, Fixed, MergedNo, NodeId, ProjectNo, ViewNo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unionfs.view.catalog import Catalog

TO_CURRENT: dict[int, bytes] = {
    Fixed.BIN: b"bin",
    Fixed.LIB: b"lib",
    Fixed.LIB64: b"lib64",
    Fixed.INCLUDE: b"include",
    Fixed.SHARE: b"share",
    Fixed.PYVENV_CFG: b"pyvenv.cfg",
    Fixed.SITE_PACKAGES: b"site-packages",
}

_ROOT_NAMES = {
    b"current": Fixed.CURRENT,
    b"views": Fixed.VIEWS,
    b"projects": Fixed.PROJECTS,
    b"packages": Fixed.PACKAGES,
    **{name: Fixed(node) for node, name in TO_CURRENT.items()},
}

GROWING = frozenset(map(nodeid.fixed, (Fixed.VIEWS, Fixed.PROJECTS, Fixed.PACKAGES)))

_VIEW_ID_SIZE = 32
_DIRECTORIES = (Fixed.ROOT, Fixed.VIEWS, Fixed.PROJECTS, Fixed.PACKAGES)


class Top:
    """Answers for the FIXED and the PROJECT nodes of one mount.

    Nothing that is listed is opened, so one that is damaged hides none of its neighbours.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._packing = catalog.packing

    def attributes(self, node: NodeId) -> Attributes:
        """Of a FIXED node."""
        try:
            fixed = Fixed(node)
        except ValueError:
            raise FileSystemError(errno.ENOENT) from None
        beginning = self._packing.beginning
        if fixed in _DIRECTORIES:
            return attributes.directory(node, beginning)
        size = (
            len("views/") + _VIEW_ID_SIZE
            if fixed is Fixed.CURRENT
            else len("current/") + len(TO_CURRENT[fixed])
        )
        return attributes.link(node, size, beginning)

    def lookup(self, parent: NodeId, name: bytes) -> Attributes | Absent:
        """The node of that name in a FIXED directory."""
        if not stat.S_ISDIR(self.attributes(parent).mode):
            raise FileSystemError(errno.ENOTDIR)
        text = name.decode("utf-8", "replace")
        match Fixed(parent):
            case Fixed.ROOT:
                node = _ROOT_NAMES.get(name)
                return Absent(FOREVER) if node is None else self.attributes(nodeid.fixed(node))
            case Fixed.VIEWS:
                view = self._catalog.view_number(ViewId(text))
                return Absent(0) if view is None else self._view(view)
            case Fixed.PROJECTS:
                project = self._catalog.projects.number(text)
                return Absent(0) if project is None else self.project(project)
            case _:
                archive = self._catalog.package(name)
                return Absent(0) if archive is None else self._package(archive)

    def listing(self, node: Fixed) -> Iterator[tuple[bytes, Attributes]]:
        """In an order in which what is new comes last: a page goes on where the last one ended."""
        match node:
            case Fixed.ROOT:
                for name, child in _ROOT_NAMES.items():
                    yield name, self.attributes(nodeid.fixed(child))
            case Fixed.VIEWS:
                for view, view_id in self._catalog.views():
                    yield view_id.encode(), self._view(view)
            case Fixed.PROJECTS:
                for project, key in self._catalog.projects.all():
                    yield key.encode(), self.project(project)
            case _:
                for short, archive in self._catalog.packages():
                    yield short, self._package(archive)

    def project(self, number: ProjectNo) -> Attributes:
        """Of a project's link."""
        size = len("../views/") + _VIEW_ID_SIZE
        node = self._packing.project(number)
        return attributes.link(node, size, self._packing.beginning, BRIEFLY)

    def project_target(self, node: NodeId) -> bytes:
        """Where a PROJECT node leads now."""
        view = self._catalog.projects.view(self._packing.project_part(node))
        if view is None:
            raise FileSystemError(errno.ENOENT)
        return b"../views/" + view.encode()

    def _view(self, number: ViewNo) -> Attributes:
        node = self._packing.merged(number, MergedNo(0))
        return attributes.directory(node, self._catalog.view_time(number))

    def _package(self, number: ArchiveNo) -> Attributes:
        node = self._packing.in_archive(number, ROOT)
        return attributes.directory(node, self._catalog.archive_time(number))
