#!/usr/bin/env bash
# uv 0.13.9: a pylock.toml of uv's brings Git LFS pointers in the place of the files that uv.lock brings.
#
# Behaviour: `[tool.uv.sources] x = {git = …, lfs = true}` is in uv.lock (`?lfs=true`), and `uv sync` installs the files.
# `uv export --format pylock.toml` of the same lock has no trace of it: what `uv pip install -r pylock.toml` installs
# are LFS's pointers, 130 bytes of text each, without a word.
#
# Why it surprises: both are locks of the same resolution with the same commit, and the export succeeds. The package
# imports; it is its model, image or database that is a text file.
#
# What follows: who goes from uv.lock to pylock.toml keeps note of `lfs=true` (PEP 751 lets a tool do so in
# `packages.tool`), or sets UV_GIT_LFS=1 where it is installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 HOME="$work"
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install uv==0.13.9
command -v git-lfs >/dev/null || { (apt-get download git-lfs && dpkg -x git-lfs_*.deb lfs) >/dev/null 2>&1; export PATH="$work/lfs/usr/bin:$PATH"; }
git config --global user.name ada
git config --global user.email ada@example.org
git lfs install >/dev/null

mkdir -p large/large project
cat >large/pyproject.toml <<'TOML'
[project]
name = "large"
version = "1"
[build-system]
requires = ["setuptools==84.2.1"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
packages = ["large"]
[tool.setuptools.package-data]
large = ["model.bin"]
TOML
touch large/large/__init__.py
head -c 1000 /dev/zero >large/large/model.bin
git -C large init -q
git -C large lfs track '*.bin' >/dev/null
git -C large add -A
git -C large commit -qm large

cat >project/pyproject.toml <<TOML
[project]
name = "project"
version = "1"
requires-python = ">=3.11"
dependencies = ["large"]
[tool.uv.sources]
large = {git = "file://$work/large", lfs = true}
TOML
cd project
uv="$work/tools/bin/uv"
size() { stat -c %s .venv/lib/python3*/site-packages/large/model.bin; }
"$uv" sync -q
by_sync=$(size)
"$uv" export -q --format pylock.toml -o pylock.toml >/dev/null
rm -rf .venv
"$uv" venv -q
"$uv" pip install -q --preview-features pylock -r pylock.toml
by_pylock=$(size)
echo "model.bin has $by_sync bytes by uv sync, $by_pylock by uv pip install -r pylock.toml"
[[ $by_sync == 1000 && $by_pylock == 12* ]]
