from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from resolver.python.declared.indexes import named_indexes
from resolver.python.project import project_at

if TYPE_CHECKING:
    import pytest

    Tree = Any


def found(tree: Tree, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - of `project_at`
    project = project_at(os.fspath(tree.root), **more)
    assert project is not None
    return named_indexes(project)


def test_in_the_order_in_which_uv_reads_the_files(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t0")
    tree.write(
        "requirements.txt",
        "-c constraints.txt\n-r sub/a.txt\n--extra-index-url=https://d/simple\n"
        "-i 'https://e/simple'\n--index-url-strategy x\nsix --index-url https://no/simple\n"
        "--no-index --find-links ./f\n",
    )
    tree.write("constraints.txt", "--index-url https://no/simple\n--no-index\n")
    tree.write(
        "sub/a.txt",
        "--extra-index-url https://u:${TOKEN}@a/simple \\\n  --extra-index-url ./b\n"
        "-r c.txt\n-f w\n",
    )
    tree.write("sub/c.txt", "--extra-index-url https://c/${NONE}\n-f https://f/links.html\n")
    root = tree.root
    expected = {
        "extra-index-url": [
            *("https://u:t0@a/simple", f"{root}/b", "https://c/${NONE}", "https://d/simple")
        ],
        "index-url": "https://e/simple",
        "find-links": ["https://f/links.html", f"{root}/sub/w", f"{root}/f"],
        "no-index": True,
    }
    assert found(tree) == expected
    # What a lock was made from, and nothing of files beside a project's own list.
    tree.write("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\n')
    assert found(tree) == expected
    tree.write("pyproject.toml", '[project]\nname = "a"\nversion = "1"\n')
    assert found(tree) == found(tree, own_lock=False) == {}
