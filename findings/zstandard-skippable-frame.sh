#!/usr/bin/env bash
# python-zstandard 0.25.0: a leading skippable frame makes half of its readers end at once, in silence.
#
# Behaviour: a .zst file that begins with a skippable frame (what `pzstd` writes before each of its frames, and what
# formats use for their own header) is whole for `zstd`, for backports.zstd, and here for open(), stream_reader(),
# copy_stream() and stream_writer(). decompressobj() and read_to_iter() give nothing and no error; eof is true, the
# rest is "unused". decompress() raises, about the wrong thing: it takes the length of the skippable frame for the
# content's size.
#
# Why it surprises: RFC 8878 has decoders ignore such frames, and libzstd does. That some of these readers stop after
# the *first frame with data* is documented; that a frame without data counts as that frame is not, nor that
# read_to_iter() and copy_stream(), both "decompress this stream", part ways. `read_across_frames=True` helps
# decompressobj(); decompress() takes the argument, and raises that it is not implemented.
#
# What follows: a download read through decompressobj() or read_to_iter() is "successfully" empty. Use stream_reader()
# or decompressobj(read_across_frames=True), and compare the number of bytes with a known one. Put a format's own
# skippable frame last, as zstd's seekable format does, if other people are to read it with any library.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv tools
tools/bin/python -m pip -qq --disable-pip-version-check install zstandard==0.25.0 backports.zstd==1.8.0

tools/bin/python - <<'PY'
import io
import struct
import sys

import zstandard
from backports import zstd as second_reader

TEXT = b"twenty times over. " * 20
skippable = struct.pack("<II", 0x184D2A50, 4) + b"head"
data = skippable + zstandard.ZstdCompressor().compress(TEXT)
assert second_reader.decompress(data) == TEXT

fresh = zstandard.ZstdDecompressor


def opened():
    with open("data.zst", "wb") as file:
        file.write(data)
    with zstandard.open("data.zst") as file:
        return file.read()


def copied():
    out = io.BytesIO()
    fresh().copy_stream(io.BytesIO(data), out)
    return out.getvalue()


def written():
    out = io.BytesIO()
    writer = fresh().stream_writer(out)
    writer.write(data)
    return out.getvalue()


def as_object():
    reader = fresh().decompressobj()
    seen = reader.decompress(data)
    print(f"{'':40} eof is {reader.eof}, {len(reader.unused_data)} bytes are called unused")
    return seen


readers = {
    "open().read()": opened,
    "stream_reader().read()": lambda: fresh().stream_reader(io.BytesIO(data)).read(),
    "copy_stream()": copied,
    "stream_writer()": written,
    "decompressobj(read_across_frames=True)": lambda: fresh().decompressobj(read_across_frames=True).decompress(data),
    "decompressobj()": as_object,
    "read_to_iter()": lambda: b"".join(fresh().read_to_iter(io.BytesIO(data))),
    "decompress()": lambda: fresh().decompress(data),
    "decompress(read_across_frames=True)": lambda: fresh().decompress(data, read_across_frames=True),
}
found = []
print(f"{'backports.zstd.decompress()':40} {len(TEXT)} bytes")
for name, reader in readers.items():
    try:
        found.append(len(reader()))
        print(f"{name:40} {found[-1]} bytes")
    except zstandard.ZstdError as error:
        found.append(str(error))
        print(f"{name:40} {error}")
whole = len(TEXT)
sys.exit(found[:7] != [whole] * 5 + [0, 0] or "expected 4" not in found[7] or "not yet implemented" not in found[8])
PY
