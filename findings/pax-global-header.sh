#!/usr/bin/env bash
# GNU tar 1.34, libarchive 3.6.2 (bsdtar), Python's tarfile (3.11), npm's tar 7.5.23: one pax archive, three answers.
#
# Behaviour: a pax archive may carry global headers, here one with a modification time and, before a later member, one
# with only a comment (as `git archive` writes it); GNU tar made both, and joined them with --concatenate. Python and
# npm give that time to all members after it. GNU tar forgets it at the second global header, though that does not name
# it. bsdtar skips global headers, without a warning, and shows each member's own time.
#
# Why it surprises: POSIX says it in one sentence: values of a global header affect all following files unless a file's
# own header or a later global one overrides *them*. The three are the readers that one compares one's own with, and
# each is taken as what decides whether an archive is right.
#
# What follows: two unpackers of one archive, with one digest, make two trees. Who writes archives for others puts
# everything into headers of each member and none but a comment into a global one; who compares readers of archives
# must leave global headers out, or will find a difference in each pair.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -qq libarchive-tools=3.6.2-1+deb12u5 libarchive13=3.6.2-1+deb12u5 2>/dev/null
for package in ./*.deb; do dpkg-deb -x "$package" debian; done
LIBRARIES=$(dirname debian/usr/lib/*/libarchive.so.13)
bsdtar() { LD_LIBRARY_PATH="$work/$LIBRARIES" debian/usr/bin/bsdtar "$@"; }
npm install --silent --no-audit --no-fund tar@7.5.23 >/dev/null

echo a >first
echo b >second
touch -d @1000 first second
tar --format=pax --pax-option='mtime=5000' -cf demo.tar first
tar --format=pax --pax-option='comment=no time here' -cf more.tar second
tar --concatenate -f demo.tar more.tar

cat >list.mjs <<'JS'
import { t as list } from "tar";
await list({ file: "demo.tar", onReadEntry: (entry) => console.log(entry.mtime.getTime() / 1000) });
JS
times() { tr '\n' ' '; }
gnu=$(mkdir out && tar -xf demo.tar -C out && stat -c %Y out/first out/second | times)
bsd=$(bsdtar -cf - --format=mtree @demo.tar | grep -o 'time=[0-9]*' | cut -d= -f2 | times)
python=$(python3 -c 'import tarfile
for member in tarfile.open("demo.tar"): print(int(member.mtime))' | times)
npm=$(node list.mjs | times)
printf '%-46s %s\n' \
    "own times: 1000; in the first global header: 5000" "first second" \
    "$(tar --version | head -n 1)" "$gnu" \
    "$(bsdtar --version | cut -d' ' -f1-4)" "$bsd" \
    "$(python3 --version), tarfile" "$python" \
    "npm's tar 7.5.23" "$npm"
[[ "$gnu" == "5000 1000 " && "$bsd" == "1000 1000 " && "$python" == "5000 5000 " && "$npm" == "5000 5000 " ]]
