#!/usr/bin/env bash
# packaging 26.4 (so pip 26.3) and uv 0.13.9: markers on platform_release bring other packages by pip than by uv.
#
# Behaviour: where the kernel's release is no version of PEP 440 ("6.12.0-45-generic", as most distributions' kernels
# have it), packaging answers False to each of `>=`, `<` and `!=` against a version: of two requirements that exclude
# one another, neither is installed, and `!=` is no longer the opposite of `==`. uv compares as text, letter by letter,
# so there 6.12 is older than 6.8, even where the release is a version ("6.12.0") and packaging compares versions.
#
# Why it surprises: a marker that is not true is expected to have a negation that is. The specification makes this one
# "Version | String": versions where both sides are, else only equality, "no ordering is assumed"; it lets nobody
# compare letters, and nothing in it makes `!=` false for two unequal strings. Neither program says a word.
#
# What follows: a lock with such markers, made by one and installed by the other, is not what was locked. Do not fork
# on platform_release (or platform_version); who evaluates other people's markers should expect that no branch holds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9

cat >requirements.txt <<'TXT'
six==1.17.0; platform_release >= "6.8"
idna==3.10; platform_release < "6.8"
h11==0.16.0; platform_release != "6.8"
TXT
names() { { grep -Eo '(six|idna|h11)[-=]+[0-9.]+[0-9]' || true; } | sort -u | tr '\n' ' '; }
seen=""
for release in 6.12.0-45-generic 6.12.0; do
    # The environment's Python, which both programs ask, sees this release whatever kernel runs.
    rm -rf target
    python3 -m venv --without-pip target
    site=$(target/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import platform; platform.release = lambda: '$release'" >"$site/release.pth"
    by_pip=$(tools/bin/python -m pip --python target/bin/python install --no-deps --dry-run -r requirements.txt 2>&1 |
        sed -n '/^Would install/p' | names)
    by_uv=$(UV_CACHE_DIR="$work/cache-$release" tools/bin/uv pip install --no-deps --dry-run \
        --python target/bin/python -r requirements.txt 2>&1 | sed -n '/^ + /p' | names)
    printf '%-18s pip: %-24s uv: %s\n' "$release" "${by_pip:-nothing}" "${by_uv:-nothing}"
    seen+="$by_pip/ $by_uv;"
done
[[ "$seen" == "/ h11==0.16.0 idna==3.10 ;h11-0.16.0 six-1.17.0 / h11==0.16.0 idna==3.10 ;" ]]
