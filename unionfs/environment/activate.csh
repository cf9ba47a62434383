# Use this environment in csh or tcsh: `source .venv/bin/activate.csh`. `deactivate` undoes it.
#
# csh does not tell which file it reads. The file is open in the shell itself, and /proc names it,
# with all links resolved; a word of the command line, or a .venv here or above, that leads
# there comes first, so that VIRTUAL_ENV is the project's own .venv. (Directories are compared,
# not files: views share the node of a file that is the same in both.) csh cannot quote well enough to
# search itself: sh does, reading its program from the environment.

setenv _PKGVIEW_LINE "$_:q"

alias deactivate 'if ($?_OLD_VIRTUAL_PATH) eval '\''setenv PATH "$_OLD_VIRTUAL_PATH:q"'\''; unset _OLD_VIRTUAL_PATH; if ($?_OLD_VIRTUAL_PYTHONHOME) eval '\''setenv PYTHONHOME "$_OLD_VIRTUAL_PYTHONHOME:q"'\''; unset _OLD_VIRTUAL_PYTHONHOME; if ($?_OLD_VIRTUAL_PROMPT) eval '\''set prompt = "$_OLD_VIRTUAL_PROMPT:q"'\''; unset _OLD_VIRTUAL_PROMPT; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash; if ("\!:*" != "nondestructive") unalias deactivate'
deactivate nondestructive

setenv _PKGVIEW_FIND 'for fd in /proc/$1/fd/*; do file=$(readlink "$fd"); case $file in */bin/activate.csh) break ;; esac; file=; done; test "$file" || exit; set -f; for word in $_PKGVIEW_LINE; do case $word in /*) ;; *) word=$PWD/$word ;; esac; test "${word%/*}" -ef "${file%/*}" && cd -L "${word%/*}/.." && pwd -L && exit; done; here=$PWD; while test "$here"; do test "$here/.venv" -ef "${file%/bin/activate.csh}" && printf "%s\n" "$here/.venv" && exit; here=${here%/*}; done; printf "%s\n" "${file%/bin/activate.csh}"'
set _pkgview_env = "`printenv _PKGVIEW_FIND | /bin/sh -s $$`"
unsetenv _PKGVIEW_FIND
unsetenv _PKGVIEW_LINE

if ("$_pkgview_env:q" == "") then
    echo "activate.csh: cannot find out where this file lies; put the bin directory on PATH"
else
    setenv VIRTUAL_ENV "$_pkgview_env:q"
    set _OLD_VIRTUAL_PATH = "$PATH:q"
    setenv PATH "$VIRTUAL_ENV/bin:$PATH:q"
    if ($?PYTHONHOME) then
        set _OLD_VIRTUAL_PYTHONHOME = "$PYTHONHOME:q"
        unsetenv PYTHONHOME
    endif
    # An environment within a project bears the project's name.
    set _pkgview_name = "$VIRTUAL_ENV:t:q"
    if ("$_pkgview_name:q" == ".venv" || "$_pkgview_name:q" == "venv") then
        set _pkgview_above = "$VIRTUAL_ENV:h:q"
        set _pkgview_name = "$_pkgview_above:t:q"
        unset _pkgview_above
    endif
    setenv VIRTUAL_ENV_PROMPT "$_pkgview_name:q"
    unset _pkgview_name
    if (! $?VIRTUAL_ENV_DISABLE_PROMPT && $?prompt) then
        set _OLD_VIRTUAL_PROMPT = "$prompt:q"
        set prompt = "($VIRTUAL_ENV_PROMPT:q) $prompt:q"
    endif
    rehash
endif
unset _pkgview_env
