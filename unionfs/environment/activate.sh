# Use this environment in a shell: `. .venv/bin/activate` (bash, zsh, dash, and other POSIX shells
# on Linux). `deactivate` undoes it. The environment is found from the place of this file, with
# no link resolved, so that VIRTUAL_ENV is the project's own .venv.

deactivate() {
    if [ -n "${_OLD_VIRTUAL_PATH+set}" ]; then
        PATH=$_OLD_VIRTUAL_PATH
        export PATH
        unset _OLD_VIRTUAL_PATH
    fi
    if [ -n "${_OLD_VIRTUAL_PYTHONHOME+set}" ]; then
        PYTHONHOME=$_OLD_VIRTUAL_PYTHONHOME
        export PYTHONHOME
        unset _OLD_VIRTUAL_PYTHONHOME
    fi
    if [ -n "${_OLD_VIRTUAL_PS1+set}" ]; then
        PS1=$_OLD_VIRTUAL_PS1
        unset _OLD_VIRTUAL_PS1
    fi
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    # Commands that the shell remembers by their old place.
    hash -r 2>/dev/null || true
    if [ "${1-}" != nondestructive ]; then
        unset -f deactivate
    fi
}

deactivate nondestructive

# Prints the absolute path of the directory above that of the file $1.
_pkgview_above() {
    case $1 in
        */*) _pkgview_directory=${1%/*} ;;
        *) _pkgview_directory=. ;;
    esac
    # -L: links stay. No alias, function or CDPATH of the user's may have a say or print.
    (
        \unset -f cd pwd 2>/dev/null || :
        CDPATH=''
        \cd -L -- "${_pkgview_directory:-/}/.." >/dev/null 2>&1 && \pwd -L
    )
}

# Prints the environment's path, in a shell that does not tell which file it reads. The file is
# open in the shell itself, at one of the descriptors that shells keep for this; /proc tells it.
_pkgview_from_descriptor() {
    for _pkgview_fd in 10 11 12 13 14 15 16 17 18 19 3 4 5 6 7 8 9; do
        _pkgview_file=$(readlink "/proc/$$/fd/$_pkgview_fd") || continue
        case $_pkgview_file in
            */bin/activate) ;;
            *) continue ;;
        esac
        # That name has all links resolved. A .venv here or above that is the same comes first.
        _pkgview_here=$PWD
        while [ -n "$_pkgview_here" ]; do
            # Directories, not files: views share the node of a file that is the same in both.
            # shellcheck disable=SC3013
            if [ "$_pkgview_here/.venv" -ef "${_pkgview_file%/bin/activate}" ]; then
                printf '%s\n' "$_pkgview_here/.venv"
                return 0
            fi
            _pkgview_here=${_pkgview_here%/*}
        done
        _pkgview_above "$_pkgview_file"
        return
    done
    return 1
}

if [ -n "${BASH_VERSION-}" ]; then
    # In another shell's eyes an array is a syntax error: hence eval.
    eval 'VIRTUAL_ENV=$(_pkgview_above "${BASH_SOURCE[0]}")' || VIRTUAL_ENV=
elif [ -n "${ZSH_VERSION-}" ]; then
    eval 'VIRTUAL_ENV=$(_pkgview_above "${(%):-%x}")' || VIRTUAL_ENV=
else
    VIRTUAL_ENV=$(_pkgview_from_descriptor) || VIRTUAL_ENV=
fi
unset -f _pkgview_above _pkgview_from_descriptor

if [ -z "$VIRTUAL_ENV" ]; then
    unset VIRTUAL_ENV
    unset -f deactivate
    echo 'activate: this shell does not say where this file lies; put the bin directory on PATH' >&2
    # The status of `. activate`.
    false
else
    export VIRTUAL_ENV
    if [ -n "${PATH+set}" ]; then
        _OLD_VIRTUAL_PATH=$PATH
    fi
    PATH=$VIRTUAL_ENV/bin${PATH:+:$PATH}
    export PATH

    if [ -n "${PYTHONHOME+set}" ]; then
        _OLD_VIRTUAL_PYTHONHOME=$PYTHONHOME
        unset PYTHONHOME
    fi

    # An environment within a project bears the project's name.
    case $VIRTUAL_ENV in
        ?*/.venv | ?*/venv)
            VIRTUAL_ENV_PROMPT=${VIRTUAL_ENV%/*}
            VIRTUAL_ENV_PROMPT=${VIRTUAL_ENV_PROMPT##*/}
            ;;
        *) VIRTUAL_ENV_PROMPT=${VIRTUAL_ENV##*/} ;;
    esac
    export VIRTUAL_ENV_PROMPT
    if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ]; then
        _OLD_VIRTUAL_PS1=${PS1-}
        PS1="($VIRTUAL_ENV_PROMPT) ${PS1-}"
    fi
    hash -r 2>/dev/null || true
fi
