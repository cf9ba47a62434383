# Read by bash instead of ~/.bashrc when `pkgview shell` starts it.

if [ -r ~/.bashrc ]; then
    . ~/.bashrc
fi
. "${BASH_SOURCE[0]%/*}/posix.sh"
