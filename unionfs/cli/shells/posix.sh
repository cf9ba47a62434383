# Read by dash, ash and the Korn shells (as ENV) when `pkgview shell` starts them, and by bash after
# the user's own start-up file. Puts the project's view first on PATH, wherever the user's files
# have put things, and its name into the prompt.

if [ -n "${PKGVIEW_SHELL_PREFIX-}${PKGVIEW_SHELL_MORE-}" ]; then
    # ENV is what the user had; what it names has its say first.
    if [ -n "${PKGVIEW_SHELL_ENV-}" ]; then
        ENV=$PKGVIEW_SHELL_ENV
        export ENV
        unset PKGVIEW_SHELL_ENV
        # shellcheck disable=SC1090
        if [ -r "$ENV" ]; then . "$ENV"; fi
    elif [ -z "${BASH_VERSION-}" ]; then
        unset ENV
    fi
fi
if [ -n "${PKGVIEW_SHELL_MORE-}" ]; then
    PATH=$PKGVIEW_SHELL_MORE:$PATH
    export PATH
    unset PKGVIEW_SHELL_MORE
fi
if [ -n "${PKGVIEW_SHELL_PREFIX-}" ]; then
    VIRTUAL_ENV=$PKGVIEW_SHELL_PREFIX
    PATH=$VIRTUAL_ENV/bin:$PATH
    export VIRTUAL_ENV PATH
    unset PKGVIEW_SHELL_PREFIX
    if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ]; then
        PS1="($VIRTUAL_ENV_PROMPT) ${PS1-\$ }"
    fi
fi
