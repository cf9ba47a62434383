# Use this environment in fish: `source .venv/bin/activate.fish`. `deactivate` undoes it.
# The environment is found from the place of this file, with no link resolved, so that
# VIRTUAL_ENV is the project's own .venv.

function deactivate -d "Leave the virtual environment"
    if set -q _OLD_VIRTUAL_PATH
        set -gx PATH $_OLD_VIRTUAL_PATH
        set -e _OLD_VIRTUAL_PATH
    end
    if set -q _OLD_VIRTUAL_PYTHONHOME
        set -gx PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set -e _OLD_VIRTUAL_PYTHONHOME
    end
    if functions -q _pkgview_old_prompt
        functions -e fish_prompt
        functions -c _pkgview_old_prompt fish_prompt
        functions -e _pkgview_old_prompt
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

deactivate nondestructive

# `status filename` is what `source` was given. The dots in it are taken away by name only:
# asking the file system would resolve links.
set -l _pkgview_file (status filename)
string match -q '/*' -- $_pkgview_file; or set _pkgview_file "$PWD/$_pkgview_file"
set _pkgview_file (string replace -ra '/(\./|/)+' / -- $_pkgview_file)
while string match -qr '/(?!\.\./)[^/]+/\.\./' -- $_pkgview_file
    set _pkgview_file (string replace -r '/(?!\.\./)[^/]+/\.\./' / -- $_pkgview_file)
end
set -gx VIRTUAL_ENV (string replace -r '/[^/]*/[^/]*$' '' -- $_pkgview_file)

set -g _OLD_VIRTUAL_PATH $PATH
set -gx PATH $VIRTUAL_ENV/bin $PATH

if set -q PYTHONHOME
    set -g _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end

# An environment within a project bears the project's name.
set -l _pkgview_names (string split / -- $VIRTUAL_ENV)
if contains -- $_pkgview_names[-1] .venv venv; and test -n "$_pkgview_names[-2]"
    set -gx VIRTUAL_ENV_PROMPT $_pkgview_names[-2]
else
    set -gx VIRTUAL_ENV_PROMPT $_pkgview_names[-1]
end

if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
    functions -c fish_prompt _pkgview_old_prompt
    function fish_prompt
        # The user's prompt may show the status of the last command: it must see the same one.
        set -l last $status
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        test $last -eq 0; or begin
            function _pkgview_status -a code
                return $code
            end
            _pkgview_status $last
        end
        _pkgview_old_prompt
    end
end
