# Read by fish after the user's configuration when `pkgview shell` starts it.

if set -q PKGVIEW_SHELL_MORE
    set -gx PATH $PKGVIEW_SHELL_MORE $PATH
    set -e PKGVIEW_SHELL_MORE
end
if set -q PKGVIEW_SHELL_PREFIX
    set -gx VIRTUAL_ENV $PKGVIEW_SHELL_PREFIX
    set -gx PATH $VIRTUAL_ENV/bin $PATH
    set -e PKGVIEW_SHELL_PREFIX PKGVIEW_SHELL_INIT
    if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
        functions -c fish_prompt _pkgview_fish_prompt
        function fish_prompt
            # What the last command returned, for the user's own prompt to show.
            set -l last $status
            printf '(%s) ' $VIRTUAL_ENV_PROMPT
            _pkgview_status $last
            _pkgview_fish_prompt
        end
        function _pkgview_status
            return $argv[1]
        end
    end
end
