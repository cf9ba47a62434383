# Read by the hook of bash: has `pkgview` say how a word may go on. Each line that it prints is a
# word, or says that a file may stand there, which readline itself completes best.

_pkgview_completion() {
    local line offered files=''
    mapfile -t offered < <(
        IFS=$'\n'
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _PKGVIEW_COMPLETE=bash_complete "$1"
    )
    COMPREPLY=()
    for line in "${offered[@]}"; do
        case $line in
        file,* | dir,*) files=${line%%,*} ;;
        plain,*) COMPREPLY+=("${line#*,}") ;;
        esac
    done
    [ -n "$files" ] || return 0
    if [ ${#COMPREPLY[@]} -gt 0 ]; then
        compopt -o filenames
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$2")
    elif [ "$files" = dir ]; then
        compopt -o dirnames
    else
        compopt -o bashdefault -o default
    fi
}

complete -o nosort -F _pkgview_completion pkgview
