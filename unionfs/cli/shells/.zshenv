# Read by zsh (as $ZDOTDIR/.zshenv) when `pkgview shell` starts it. From here on ZDOTDIR is the
# user's own again, so all other files are. What is left to do is done at the first prompt.

if [[ -n ${PKGVIEW_SHELL_ZDOTDIR-} ]]; then
    export ZDOTDIR=$PKGVIEW_SHELL_ZDOTDIR
    unset PKGVIEW_SHELL_ZDOTDIR
else
    unset ZDOTDIR
fi

_pkgview_shell() {
    precmd_functions=(${precmd_functions:#_pkgview_shell})
    unfunction _pkgview_shell
    if [[ -n ${PKGVIEW_SHELL_MORE-} ]]; then
        export PATH=$PKGVIEW_SHELL_MORE:$PATH
        unset PKGVIEW_SHELL_MORE
    fi
    [[ -n ${PKGVIEW_SHELL_PREFIX-} ]] || return 0
    export VIRTUAL_ENV=$PKGVIEW_SHELL_PREFIX
    export PATH=$VIRTUAL_ENV/bin:$PATH
    unset PKGVIEW_SHELL_PREFIX
    if [[ -z ${VIRTUAL_ENV_DISABLE_PROMPT-} ]]; then
        PS1="($VIRTUAL_ENV_PROMPT) $PS1"
    fi
}
typeset -ga precmd_functions
precmd_functions+=(_pkgview_shell)

if [[ -r ${ZDOTDIR:-$HOME}/.zshenv ]]; then
    source ${ZDOTDIR:-$HOME}/.zshenv
fi
