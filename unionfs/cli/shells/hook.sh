# Read by bash and zsh at their start, by the line that `pkgview enable --shell` has written into
# their start-up file. Where a directory belongs to a project that its user has said yes to, the
# project's commands come first, and its view is made current; elsewhere they are not on PATH.
#
# What a command is, the mount decides each time it is looked up, by where the shell is. So this
# only puts the mount's `bin` on PATH and takes it away: a project without a yes has nothing there.

_pkgview_mount=@MOUNT@
_pkgview_command=@PKGVIEW@
_pkgview_files=@FILES@
_pkgview_project='' _pkgview_seen='' _pkgview_asked='' _pkgview_again='' _pkgview_way=''

# In _pkgview_way: the PATH in $1 without the mount's commands.
_pkgview_without() {
    local commands=$_pkgview_mount/bin way=:$1:
    case $way in
    *":$commands:"*) way=${way%%":$commands:"*}:${way#*":$commands:"} ;;
    esac
    way=${way#:}
    _pkgview_way=${way%:}
}

# Whether somebody has activated an environment, perhaps the very one that is in VIRTUAL_ENV. All
# scripts for that keep the PATH that was, and `deactivate` brings it back.
_pkgview_is_activated() {
    [ -n "${_OLD_VIRTUAL_PATH-}" ] || [ "${VIRTUAL_ENV-}" != "$PKGVIEW_HOOK" ]
}

# Whether VIRTUAL_ENV should name the other one of `.venv`, which leads to the view here since, and
# the mount, which does so always.
_pkgview_is_moved() {
    if [ "$PKGVIEW_HOOK" = "$_pkgview_mount" ]; then
        [ "$_pkgview_project/.venv" -ef "$_pkgview_mount/current" ]
    else
        [ ! -h "$PKGVIEW_HOOK" ]
    fi
}

_pkgview_leave() {
    _pkgview_project=
    [ -n "${PKGVIEW_HOOK-}" ] || return 0
    _pkgview_without "$PATH"
    PATH=$_pkgview_way
    if [ -n "${_OLD_VIRTUAL_PATH-}" ]; then
        _pkgview_without "$_OLD_VIRTUAL_PATH"
        _OLD_VIRTUAL_PATH=$_pkgview_way
    fi
    _pkgview_is_activated || unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    unset PKGVIEW_HOOK
    hash -r
}

_pkgview_enter() {
    _pkgview_project=$1
    PKGVIEW_HOOK=$2
    PATH=$_pkgview_mount/bin:$PATH
    VIRTUAL_ENV=$2
    VIRTUAL_ENV_PROMPT=${1##*/}
    export PATH PKGVIEW_HOOK VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r
}

# Whether the mount is there, which is the user's own or root's: nobody else's is run.
_pkgview_is_mounted() {
    [ -x "$_pkgview_mount/bin/python" ] || return
    [ -O "$_pkgview_mount/" ] || [ "$(command stat -c %u "$_pkgview_mount/")" = 0 ]
}

# The environment here, for the project in $1; a failure where there is none, or no yes to it.
_pkgview_ask() {
    command sh -c @ASK@ sh "$_pkgview_mount" "$1"
}

_pkgview_look() {
    local root=$PWD mark found='' environment
    while :; do
        for mark in pylock.toml pyproject.toml requirements.txt; do
            [ -e "$root/$mark" ] && found=1
        done
        [ -n "$found" ] || [ -z "$root" ] && break
        root=${root%/*}
    done
    _pkgview_again=
    if [ -z "$found" ]; then
        _pkgview_leave
        return
    fi
    [ "$root" = "$_pkgview_project" ] && return
    _pkgview_leave
    _pkgview_again=1
    # An environment that somebody has activated stays, for as long as it is active.
    [ -z "${VIRTUAL_ENV-}" ] || return
    _pkgview_is_mounted || return
    # What keeps it from having a view is said once.
    [ "$_pkgview_asked" != "$root" ] || _pkgview_ask "$root" >/dev/null || return
    _pkgview_asked=$root
    # It waits for its view, whoever wants one.
    "$_pkgview_mount/bin/python" -I -c '' </dev/null
    if environment=$(_pkgview_ask "$root"); then
        _pkgview_again=
        _pkgview_enter "$root" "$environment"
    fi
}

_pkgview_hook() {
    local last=$?
    if [ -n "$_pkgview_project" ] && { _pkgview_is_activated || _pkgview_is_moved; }; then
        _pkgview_leave
        _pkgview_again=1
    fi
    if [ -z "${PKGVIEW_SHELL-}" ] && { [ "$PWD" != "$_pkgview_seen" ] || [ -n "$_pkgview_again" ]; }
    then
        [ "$PWD" = "$_pkgview_seen" ] || _pkgview_asked=
        _pkgview_seen=$PWD
        _pkgview_look
    fi
    return "$last"
}

# Of zsh: completion begins where `compinit` has run, which may come after the line that reads this.
_pkgview_complete() {
    (( ${+functions[compdef]} )) || return 0
    add-zsh-hook -d precmd _pkgview_complete
    # shellcheck disable=SC1091
    . "$_pkgview_files/completion.zsh"
}

case $- in
*i*)
    _pkgview_is_mounted ||
        ("$_pkgview_command" mount "$_pkgview_mount" >/dev/null 2>&1 &)
    _pkgview_leave # of the shell that started this one
    if [ -n "${ZSH_VERSION-}" ]; then
        autoload -Uz add-zsh-hook
        add-zsh-hook chpwd _pkgview_hook
        add-zsh-hook precmd _pkgview_hook
        add-zsh-hook precmd _pkgview_complete
    elif [ -n "${BASH_VERSION-}" ]; then
        case ${PROMPT_COMMAND-} in
        *_pkgview_hook*) ;;
        *) PROMPT_COMMAND="_pkgview_hook${PROMPT_COMMAND:+; $PROMPT_COMMAND}" ;;
        esac
        # shellcheck disable=SC1091
        . "$_pkgview_files/completion.bash"
    fi
    ;;
esac
