#!/usr/bin/env bash
# pip 26.3, uv 0.13.9: where a comment in a requirements file ends depends on who reads it.
#
# Behaviour: pip splits a file by `str.splitlines`, so a form feed, a vertical tab, U+0085, U+2028 and U+2029 end a
# line, and with it a comment: what follows is a requirement. For uv only CR and LF do. The other way round, pip joins
# lines that end in a backslash before it takes comments out, so a comment that ends in one swallows the next
# requirement; uv does not continue a comment.
#
# Why it surprises: the two read the same lists everywhere else, and an editor shows none of these characters as a new
# line. A text that a page or a chat brought along (U+2028) may be one requirement in a review and two in pip.
#
# What follows: who reads such files splits them as the program does that installs from them. Who reviews them looks
# for characters below U+0020 and for U+0085, U+2028 and U+2029.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export UV_CACHE_DIR="$work/cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset VIRTUAL_ENV

python3 -m venv tools
tools/bin/python -m pip -qq install pip==26.3 uv==0.13.9

# The names that a program finds in the list.
by_pip() {
    tools/bin/python -m pip -qq install --no-deps --dry-run --ignore-installed --report - -r "$1" |
        tools/bin/python -c 'import json, sys
print(*sorted(one["metadata"]["name"] for one in json.load(sys.stdin)["install"]))'
}
by_uv() { tools/bin/uv pip compile -q --no-deps --no-header --no-annotate "$1" | sed 's/==.*//' | sort | xargs; }

said=""
while IFS='|' read -r what content; do
    printf '%b' "$content" >list.txt
    line="$what: pip has $(by_pip list.txt); uv has $(by_uv list.txt)"
    echo "$line"
    said+="$line
"
done <<'ROWS'
a form feed in a comment|six # why\fidna\n
a vertical tab in a comment|six # why\vidna\n
U+0085 in a comment|six # why\xc2\x85idna\n
U+2028 in a comment|six # why\xe2\x80\xa8idna\n
U+2029 in a comment|six # why\xe2\x80\xa9idna\n
a comment that ends in a backslash|six # why \\\\\nidna\n
ROWS

[[ $said == "a form feed in a comment: pip has idna six; uv has six
a vertical tab in a comment: pip has idna six; uv has six
U+0085 in a comment: pip has idna six; uv has six
U+2028 in a comment: pip has idna six; uv has six
U+2029 in a comment: pip has idna six; uv has six
a comment that ends in a backslash: pip has six; uv has idna six
" ]]
