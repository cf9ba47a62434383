# direnv's `use pkgview`; written by `pkgview enable --shell direnv`. The project's commands come
# first, if its user has said yes to it: what direnv was allowed is another question.

use_pkgview() {
    local mount=@MOUNT@ environment
    [[ -x $mount/bin/python ]] || @PKGVIEW@ mount "$mount" >/dev/null || return
    # Nobody else's is run than the user's own, or root's.
    [[ -O $mount/ || $(stat -c %u "$mount/") = 0 ]] || return
    watch_file pylock.toml pyproject.toml requirements.txt uv.lock .python-version
    # `pkgview up` makes the one, a yes changes the other: then it is asked again at the next prompt.
    watch_file .venv @TRUSTED@
    "$mount/bin/python" -I -c '' </dev/null
    if environment=$(sh -c @ASK@ sh "$mount" "$PWD"); then
        PATH_add "$mount/bin"
        export VIRTUAL_ENV=$environment VIRTUAL_ENV_PROMPT=${PWD##*/}
    else
        log_error "pkgview: there is no view of $PWD, or nobody has said yes to it"
        log_error "pkgview: \`pkgview up\` makes one, \`pkgview trust\` only says yes"
    fi
}
