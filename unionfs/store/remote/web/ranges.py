"""One range of a file over HTTP, whatever a server makes of the question.

Asked for is `bytes=start-(end-1)`, never past the file's end: Debian's registry answers that with
416, the whole file's length, and a sentence for a body. What may come:

* 206 with that range, or with the beginning of it: what is missing is `Transient`;
* 200 with the whole file, from who knows no ranges: what is before is read and dropped, and the
  rest left. It costs what it costs, and the bytes are right;
* a file of another size: `RemoteError`, it is not what was found;
* anything else: `RemoteError`, or `Transient` where another try may help.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from unionfs.store.remote.transport import Transient
from unionfs.store.remote.web.messages import Sent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from unionfs.store.remote.web.exchange import Exchange
    from unionfs.store.remote.web.guard import Scopes

_STATUSES: Final = frozenset({200, 206})
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


async def read_range(  # noqa: PLR0913 - all but the place by name
    exchange: Exchange,
    url: str,
    *,
    size: int,
    start: int,
    end: int,
    what: str,
    scopes: Scopes = (),
) -> AsyncGenerator[bytes]:
    """The bytes [start, end) of a file of `size` bytes; `end` may lie behind its end."""
    end = min(end, size)
    if not 0 <= start < end:
        return
    sent = Sent(headers={"Range": f"bytes={start}-{end - 1}"})
    async with exchange.streamed(
        "GET", url, accepted=_STATUSES, what=what, scopes=scopes, sent=sent
    ) as (response, pieces):
        passed, total = _begins(response, start)
        if total not in {None, size}:
            raise exchange.error(f"{what}: it has {total:,} bytes now, and had {size:,}")
        if passed is None:
            raise Transient("the server answers with another part than was asked for")
        drop, left = passed, end - start
        # Read to its end, where that is here, the connection is kept for the next request.
        is_all = not passed and response.headers.get("Content-Length") == str(left)
        async for piece in pieces:
            part = piece[drop : drop + left]
            drop = max(0, drop - len(piece))
            if part:
                left -= len(part)
                yield part
            if not left and not is_all:
                return
        if left:
            raise Transient("the connection was closed early")


def _begins(response: httpx2.Response, start: int) -> tuple[int | None, int | None]:
    """How many bytes come before those that were asked for (None: others), and the file's size."""
    if response.status_code == 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
        length = response.headers.get("Content-Length", "")
        return start, int(length) if re.fullmatch(r"\d{1,18}", length) else None
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        return None, None
    return 0, None if found[3] == "*" else int(found[3])
