# Read by fish at its start; written by `pkgview enable --shell fish`. As hook.sh does for bash and
# zsh, it puts the mount's `bin` on PATH where a project is that its user has said yes to.

status is-interactive; or return

set -g _pkgview_mount @MOUNT@
set -g _pkgview_project ''
set -g _pkgview_asked ''

# As in hook.sh: whether somebody has activated an environment.
function _pkgview_is_activated
    test -n "$_OLD_VIRTUAL_PATH" -o "$VIRTUAL_ENV" != "$PKGVIEW_HOOK"
end

# As in hook.sh; `test` knows no -ef in all versions of fish.
function _pkgview_is_moved
    if test "$PKGVIEW_HOOK" = $_pkgview_mount
        test -L "$_pkgview_project/.venv"
        and test (_pkgview_ask $_pkgview_project; or echo $_pkgview_mount) != $_pkgview_mount
    else
        not test -L "$PKGVIEW_HOOK"
    end
end

function _pkgview_leave
    set -g _pkgview_project ''
    test -n "$PKGVIEW_HOOK"; or return 0
    if set -l at (contains -i -- $_pkgview_mount/bin $PATH)
        set -e PATH[$at]
    end
    if set -l at (contains -i -- $_pkgview_mount/bin $_OLD_VIRTUAL_PATH)
        set -e _OLD_VIRTUAL_PATH[$at]
    end
    _pkgview_is_activated; or set -e VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    set -e PKGVIEW_HOOK
end

# Whether the mount is there, which is the user's own or root's: nobody else's is run.
function _pkgview_is_mounted
    test -x $_pkgview_mount/bin/python; or return
    test -O $_pkgview_mount/; or test (command stat -c %u $_pkgview_mount/) = 0
end

function _pkgview_ask
    command sh -c @ASK@ sh $_pkgview_mount $argv[1]
end

function _pkgview_look --on-variable PWD
    set -q PKGVIEW_SHELL; and return
    if test -n "$_pkgview_project"; and begin; _pkgview_is_activated; or _pkgview_is_moved; end
        _pkgview_leave
    end
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
    test "$root" = "$_pkgview_project"; and return
    _pkgview_leave
    test -z "$VIRTUAL_ENV"; or return
    _pkgview_is_mounted; or return
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
    # What was typed since may have been a yes, `up`, or `activate`.
    _pkgview_look
end

_pkgview_leave
if not _pkgview_is_mounted
    @PKGVIEW@ mount $_pkgview_mount >/dev/null 2>&1 &
    disown 2>/dev/null
end
