"""Whatever a RECORD says: it is refused, or says what the csv module reads from it."""

from __future__ import annotations

import csv
import io

from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.fuzz import oracles
from tests.fuzz.conftest import further, fuzzing

DIGEST = "A" * 43
paths = st.sampled_from(["a", "a/b.py", "demo/__init__.py", 'q"q', "c,c", "w\\b", "é", "", " "])
hashes = st.sampled_from(
    [
        "",
        f"sha256={DIGEST}",
        f"sha256={DIGEST}=",
        f"sha512={DIGEST * 2}",
        "md5=x",
        "sha256",
        "sha256=",
        "=",
        "a=b=c",
    ]
) | st.text(max_size=8)
sizes = st.sampled_from(["", "0", "6", "-1", "1_0", " 1", "٣", "9" * 25]) | st.text(max_size=3)
rows = st.lists(st.tuples(paths | st.text(max_size=6), hashes, sizes), max_size=5)


def written(listed: list[tuple[str, str, str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(listed)
    return text.getvalue()


right = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b.py", "demo/__init__.py", 'q"q', "c,c", "w\\b", "é", "x y"]),
        st.sampled_from(["", f"sha256={DIGEST}", f"sha256={DIGEST}=", f"sha512={DIGEST * 2}"]),
        st.sampled_from(["", "0", "6", "007"]),
    ),
    unique_by=lambda fields: fields[0],
    max_size=5,
).map(written)
wrong = st.one_of(
    # All is right but the size: of two faults the first would hide the other.
    sizes.map(lambda size: written([("a", f"sha256={DIGEST}", size)])),
    hashes.map(lambda hash_: written([("a", hash_, "6")])),
    rows.map(written),
    st.lists(st.tuples(paths, hashes, sizes), max_size=4).map(
        lambda listed: "".join(",".join(fields) + "\r\n" for fields in listed)
    ),
    st.text('a,"\n\r\\=0 \0\x0b\x85\u2028', max_size=40),
    st.text(max_size=60),
)


@fuzzing(900)
@given(st.tuples(right, st.just(value=True)) | st.tuples(wrong, st.just(value=False)))
@example(("a" * 140_000 + ",,\n", False))
@example(('"' + "\n" * 9 + '",,\n', False))
def test_record_says_what_csv_reads(made: tuple[str, bool]) -> None:
    text, must = made
    verdict = oracles.record_text(text)
    assert verdict.accepted or not must, verdict
    event(verdict.said)
    further(verdict.distance)
