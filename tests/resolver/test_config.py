from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver import config
from resolver.config import Config, ConfiguredStore
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from resolver.places import Places


def write(places: Places, text: str) -> None:
    places.config.mkdir(parents=True, exist_ok=True)
    config.path(places).write_text(text)


def test_there_need_be_no_file(isolated_places: Places) -> None:
    assert config.load(isolated_places) == Config()


def test_stores_are_added_and_removed_and_all_else_stays(isolated_places: Places) -> None:
    write(isolated_places, '# mine\n[gc]\nmax-size = "1.5 GB"  # enough\n')
    one, two = ConfiguredStore(path="/a b"), ConfiguredStore(path='/c"d\\é', shared=True)
    config.add_store(isolated_places, one)
    config.add_store(isolated_places, two)
    config.add_store(isolated_places, one)
    assert config.load(isolated_places) == Config(stores=(two, one), max_size=1_500_000_000)
    config.remove_store(isolated_places, two.path)
    config.remove_store(isolated_places, "/never")
    assert config.load(isolated_places).stores == (one,)
    config.remove_store(isolated_places, one.path)
    text = config.path(isolated_places).read_text()
    assert config.load(isolated_places) == Config(max_size=1_500_000_000)
    assert "# mine" in text
    assert "# enough" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store = 1", "[[store]]"),
        ("[[store]]\n", "path"),
        ('[[store]]\npath = "relative"', "absolute"),
        ('[[store]]\npath = "/x"\nshared = "yes"', "true or false"),
        ("store = [1]", "path"),
        ("gc = 1", "no table"),
        ("[gc]\nmax-size = 20", "20 GB"),
        ('[gc]\nmax-size = "much"', "'much'"),
        ("= nonsense", "line 1"),
        ('a = "' + "x" * config.LARGEST, "string"),
    ],
)
def test_what_cannot_be_understood_is_named_and_not_written_over(
    isolated_places: Places, text: str, said: str
) -> None:
    write(isolated_places, text)
    for attempt in (
        lambda: config.load(isolated_places),
        lambda: config.add_store(isolated_places, ConfiguredStore(path="/x")),
    ):
        with pytest.raises(PkgviewError) as caught:
            attempt()
        assert str(config.path(isolated_places)) in caught.value.what
        assert said in caught.value.what
    assert config.path(isolated_places).read_text() == text


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500M", 5e8), ("20 GB", 2e10), ("1.5kb", 1500), ("2T", 2e12)]
)
def test_sizes(text: str, size: float) -> None:
    assert config.size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 XB", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        config.size_of(text)
