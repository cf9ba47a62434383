"""Keys, region and endpoint for S3, where people have them.

Variables come first (`AWS_ACCESS_KEY_ID`, …). obstore reads these itself, and asks for the keys
that a cloud gives a machine, a container or a token file. What it does not read, and is read here,
are the files of `aws configure`: of the profile that `AWS_PROFILE` names, else `default`, its keys,
region and `endpoint_url`. Profiles whose keys a program or a login has to fetch (SSO, roles,
`credential_process`) are refused by name. No secret is in an error.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")

_ELSEWHERE: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""With one of these the keys are not a profile's."""

_FETCHED: Final = (
    "credential_process",
    "login_session",
    "role_arn",
    "sso_session",
    "sso_start_url",
)
"""What a profile has whose keys are in no file."""


def settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What obstore is to be told: `endpoint` and `region`, and keys where they are a profile's."""
    environ = os.environ if environ is None else environ
    name = environ.get("AWS_PROFILE") or "default"
    profile = _profile(name, environ)
    if not profile and "AWS_PROFILE" in environ:
        raise PkgviewError(
            f"there is no profile {name!a} in ~/.aws, which AWS_PROFILE names",
            remedy="`aws configure list-profiles` shows which there are.",
        )
    found = {
        "region": environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or profile.get("region", ""),
        "endpoint": environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or environ.get("AWS_ENDPOINT")
        or profile.get("endpoint_url", ""),
    }
    if not any(environ.get(one) for one in _ELSEWHERE):
        found |= {key: profile.get(key, "") for key in _KEYS}
        if not found[_KEYS[0]] and any(map(profile.get, _FETCHED)):
            raise PkgviewError(
                f"the keys of the profile {name!a} are in no file, and pkgview does not fetch them",
                remedy="Have them in variables: "
                f'eval "$(aws configure export-credentials --profile {name} --format env)"',
            )
    return {key: value for key, value in found.items() if value}


def _profile(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    home = Path(environ.get("HOME") or Path.home(), ".aws")
    section = name if name == "default" else f"profile {name}"
    # What is in both is the credentials' file's.
    return _section(environ.get("AWS_CONFIG_FILE") or str(home / "config"), section) | _section(
        environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(home / "credentials"), name
    )


def _section(file: str, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(Path(file).expanduser().read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, configparser.Error) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no file of settings"
        raise PkgviewError(
            f"{file} cannot be used: {said}", remedy="Mend it: `aws configure` writes it."
        ) from None
    return dict(parser[name]) if parser.has_section(name) else {}
