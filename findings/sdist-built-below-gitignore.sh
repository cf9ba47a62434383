#!/usr/bin/env bash
# hatchling 1.33.0 and poetry-core 2.5.0, with pip 26.3 and uv 0.13.9: where an sdist is unpacked decides what is in
# its wheel.
#
# Behaviour: both build backends leave out of a wheel what version control ignores, and look for that upwards from the
# project's folder. An sdist has no .git, so the search goes on outside of it: pip unpacks below TMPDIR, and if that
# lies in somebody's work tree whose .gitignore has `lib/` (as the usual template for Python has it), the package's own
# folder lib/ is missing from the wheel. The build succeeds and says nothing. By uv the wheel is whole: it puts an
# empty .git into its cache, which stops the search.
#
# Why it surprises: an sdist is taken to be all that its build looks at, "isolated" as pip calls it; its files are
# listed, it has a digest, and a cache of wheels is keyed by it. hatchling's documentation names parent directories, for
# a project; an sdist was filtered once already, when it was made.
#
# What follows: a tool that unpacks an sdist to build it does so in a folder of its own with an empty file .git beside
# the tree (as uv does), or outside of every work tree and of every folder with a .gitignore: tox, nox, many CI jobs
# and caches set TMPDIR into the checkout. Two wheels of one sdist should be compared by content, not by name.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/checkout/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
unset VIRTUAL_ENV GIT_DIR

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9 hatchling==1.33.0 poetry-core==2.5.0

git init -q checkout
echo 'lib/' >checkout/.gitignore
mkdir -p checkout/tmp clean

members() { python3 -m zipfile -l "$1"/*.whl | grep -Eo '^demo/[^ ]*' | sort | tr '\n' ' '; }
seen=""
for backend in hatchling.build poetry.core.masonry.api; do
    rm -rf project sdist out
    mkdir -p project/demo/lib out/{clean,checkout,uv}
    touch project/demo/__init__.py project/demo/lib/__init__.py
    cat >project/pyproject.toml <<TOML
[build-system]
requires = []
build-backend = "$backend"
[project]
name = "demo"
version = "1"
description = ""
TOML
    tools/bin/uv build -q --no-build-isolation --python tools/bin/python --sdist -o sdist project
    for place in clean checkout; do
        TMPDIR="$work/$([[ $place == clean ]] && echo clean || echo checkout/tmp)" tools/bin/python -m pip wheel -qq \
            --no-build-isolation --no-deps --no-index -w "out/$place" sdist/*.tar.gz
    done
    TMPDIR="$work/checkout/tmp" tools/bin/uv build -q --no-build-isolation --python tools/bin/python --wheel \
        -o out/uv sdist/*.tar.gz
    echo "$backend"
    printf '  %-34s %s\n' \
        "in the sdist" "$(tar -tf sdist/*.tar.gz | grep -Eo 'demo/.*' | sort | tr '\n' ' ')" \
        "pip, TMPDIR elsewhere" "$(members out/clean)" \
        "pip, TMPDIR in a work tree" "$(members out/checkout)" \
        "uv, its cache in that work tree" "$(members out/uv)"
    seen+="$(members out/clean)/ $(members out/checkout)/ $(members out/uv);"
done
expected="demo/__init__.py demo/lib/__init__.py / demo/__init__.py / demo/__init__.py demo/lib/__init__.py ;"
[[ "$seen" == "$expected$expected" ]]
