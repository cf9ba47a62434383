# Read by fish at its start; written by `pkgview enable --shell fish`. As hook.sh does for bash and
# zsh, it puts the mount's `bin` on PATH where a project is that its user has said yes to.

status is-interactive; or return

set -g _pkgview_mount @MOUNT@
set -g _pkgview_project ''
set -g _pkgview_asked ''

function _pkgview_leave
    set -g _pkgview_project ''
    test -n "$PKGVIEW_HOOK"; or return 0
    if set -l at (contains -i -- $_pkgview_mount/bin $PATH)
        set -e PATH[$at]
    end
    test "$VIRTUAL_ENV" = "$PKGVIEW_HOOK"; and set -e VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    set -e PKGVIEW_HOOK
end

function _pkgview_ask
    command sh -c @ASK@ sh $_pkgview_mount $argv[1]
end

function _pkgview_look --on-variable PWD
    set -q PKGVIEW_SHELL; and return
    set -l root $PWD
    set -l found ''
    while true
        for mark in pylock.toml pyproject.toml requirements.txt
            test -e "$root/$mark"; and set found 1
        end
        if test -n "$found" -o -z "$root"
            break
        end
        set root (string replace -r '/[^/]*$' '' -- $root)
    end
    if test -z "$found"
        _pkgview_leave
        return
    end
    test "$root" = "$_pkgview_project" -a "$VIRTUAL_ENV" = "$PKGVIEW_HOOK"; and return
    _pkgview_leave
    test -z "$VIRTUAL_ENV"; or return
    test -x $_pkgview_mount/bin/python; or return
    if test "$_pkgview_asked" = "$root"
        _pkgview_ask $root >/dev/null; or return
    end
    set -g _pkgview_asked $root
    $_pkgview_mount/bin/python -I -c '' </dev/null
    if set -l environment (_pkgview_ask $root)
        set -g _pkgview_project $root
        set -gx PKGVIEW_HOOK $environment
        set -gx PATH $_pkgview_mount/bin $PATH
        set -gx VIRTUAL_ENV $environment
        set -gx VIRTUAL_ENV_PROMPT (basename $root)
    end
end

function _pkgview_prompt --on-event fish_prompt
    # What was typed since may have been a yes.
    test -z "$_pkgview_project"; and _pkgview_look
end

_pkgview_leave
if not test -x $_pkgview_mount/bin/python
    @PKGVIEW@ mount $_pkgview_mount >/dev/null 2>&1 &
    disown 2>/dev/null
end
