"""Frames in memory: loaded once for all who want them, some ahead of who reads in order."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_SIZE: Final = 32 * 1024 * 1024
"""Bytes of decompressed frames to keep. The kernel keeps the pages of what was read; this cache
serves the small files that share a frame with one that was just read, so it need not be large."""

MOST_AHEAD: Final = 8
"""Frames that wait to be loaded ahead; what comes then is left to those who want it."""

IDLE: Final = 5.0
"""Seconds without work after which the thread that loads ahead ends."""

ALMOST_DONE: Final = 0.001
"""Seconds that a thread with others to serve waits for a frame that another one is loading: it
takes a third of that, unless the disk has to be waited for."""

MOST_LOADED: Final = 1 << 16
"""Frames that are written down between two calls of `taken`; more are not."""

Loaded = TypeVar("Loaded", bytes, bytes | None)


class _Loading:
    """A frame on its way: whoever wants it too waits for `done`."""

    __slots__ = ("content", "done")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.content: bytes | None = None


Key = tuple[bytes, int]
"""An archive's digest, and the number of a frame."""

_MARK: Final = (b"", 0)
"""No frame's key: what was asked for since `forget_unused` comes behind it."""


class FrameCache:
    """Verified, decompressed frames, the least recently used ones dropped first.

    One cache serves all archives of a process, from any thread. `hits` and `misses` count calls
    that found a frame and calls that loaded one.

    Concurrency: `_lock` guards every field and is held for a few dictionary operations only,
    never while a frame is loaded. Callers that want a frame which another one is loading wait
    for that one; if it fails, each of them tries for itself, so each gets its own error.
    """

    def __init__(self, capacity: int = CACHE_SIZE) -> None:
        """Keep up to `capacity` bytes; 0 keeps nothing."""
        self._capacity = capacity
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._frames: OrderedDict[Key, bytes] = OrderedDict()
        self._loading: dict[Key, _Loading] = {}
        self._ahead: deque[tuple[Key, Callable[[], bytes]]] = deque()
        self._loader: threading.Thread | None = None
        self.loaded: list[Key] | None = None
        """The frames that were loaded since `taken` was called; None: nobody wants to know.

        One that was loaded ahead is written down when somebody wants it.
        """
        self._unasked: set[Key] = set()
        self.size = 0
        self.hits = 0
        self.misses = 0

    def peek(self, key: Key) -> bytes | None:
        """The frame if it is here; never blocks for I/O. Counts a hit, but no miss."""
        with self._lock:
            content = self._frames.get(key)
            if content is not None:
                self.hits += 1
                self._frames.move_to_end(key)
                self._want(key)
            return content

    def get_at_once(self, key: Key, load: Callable[[], bytes | None]) -> bytes | None:
        """The frame by `load()`; None if it gives none, or another thread's takes too long."""
        with self._lock:
            content = self._frames.get(key)
            if content is not None:
                self._want(key)
                return content
            loading = self._loading.get(key)
            if loading is None:
                mine = self._loading[key] = _Loading()
            else:
                self._want(key)
        if loading is None:
            return self._load(key, mine, load)
        loading.done.wait(ALMOST_DONE)
        return loading.content

    def ahead(self, key: Key, load: Callable[[], bytes]) -> None:
        """Have another thread load a frame that is likely to be wanted next. Never waits."""
        with self._lock:
            if key in self._frames or key in self._loading or len(self._ahead) >= MOST_AHEAD:
                return
            self._ahead.append((key, load))
            if self._loader is None:
                self._loader = threading.Thread(target=self._load_ahead, daemon=True)
                self._loader.start()
            else:
                self._asked.notify()

    def _load_ahead(self) -> None:
        """All that is asked for; the thread ends when that is nothing for a while."""
        while True:
            with self._lock:
                if not self._ahead and not self._asked.wait_for(lambda: self._ahead, IDLE):
                    self._loader = None
                    return
                key, load = self._ahead.popleft()
                if key in self._frames or key in self._loading:
                    continue
                mine = self._loading[key] = _Loading()
                if self.loaded is not None:
                    self._unasked.add(key)
            with suppress(LayerError, PkgviewError, OSError):  # whoever wants it finds out
                self._load(key, mine, load)

    def get(self, key: Key, load: Callable[[], bytes]) -> bytes:
        """The frame, loaded by `load()` if it is not here. Raises what `load` raises."""
        while True:
            with self._lock:
                content = self._frames.get(key)
                self._want(key)
                if content is not None:
                    self.hits += 1
                    self._frames.move_to_end(key)
                    return content
                loading = self._loading.get(key)
                if loading is None:
                    mine = self._loading[key] = _Loading()
                    break
            loading.done.wait()
            if loading.content is not None:
                with self._lock:
                    self.hits += 1
                return loading.content
        return self._load(key, mine, load)

    def taken(self) -> list[Key]:
        """The frames that were loaded since this was called last, if they are written down."""
        with self._lock:
            if not self.loaded:
                return []
            loaded, self.loaded = self.loaded, []
            return loaded

    def forget_unused(self) -> int:
        """Drop what nobody has asked for since this was called last: how many bytes."""
        with self._lock:
            before = self.size
            while _MARK in self._frames:
                self._drop_oldest()
            if self._frames:
                self._frames[_MARK] = b""
            return before - self.size

    def _load(self, key: Key, mine: _Loading, load: Callable[[], Loaded]) -> Loaded:
        try:
            mine.content = content = load()
        finally:
            with self._lock:
                del self._loading[key]
                if mine.content is not None:
                    self.misses += 1
                    if key not in self._unasked:
                        self._note(key)
                    self._keep(key, mine.content)
                else:
                    self._unasked.discard(key)
            mine.done.set()
        return content

    def _want(self, key: Key) -> None:
        """Somebody wants a frame that may have been loaded ahead."""
        if self._unasked and key in self._unasked:
            self._unasked.discard(key)
            if key in self._frames:  # else it is noted once it is loaded
                self._note(key)

    def _note(self, key: Key) -> None:
        if self.loaded is not None and len(self.loaded) < MOST_LOADED:
            self.loaded.append(key)

    def _keep(self, key: Key, content: bytes) -> None:
        if len(content) > self._capacity:
            self._unasked.discard(key)
            return
        self._frames[key] = content
        self.size += len(content)
        while self.size > self._capacity:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        gone, dropped = self._frames.popitem(last=False)
        self._unasked.discard(gone)
        self.size -= len(dropped)
