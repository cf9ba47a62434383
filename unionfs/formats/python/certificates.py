"""Certificates as the fetching code takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from resolver.python.index import DownloadSettings


def certificates(found: DownloadSettings) -> ssl.SSLContext | Path | None:
    """A file of certificates as it is; what needs more than a file as a context."""
    if found.certificate_directory is None and found.client_certificate is None:
        return found.certificates
    import ssl  # noqa: PLC0415 - mostly a file, or the system's

    try:
        context = ssl.create_default_context(
            cafile=found.certificates, capath=found.certificate_directory
        )
        if found.client_certificate is not None:
            context.load_cert_chain(found.client_certificate)
    except OSError as error:
        named = (found.certificates, found.certificate_directory, found.client_certificate)
        raise PkgviewError(
            f"the certificates in {', '.join(str(path) for path in named if path)} cannot be "
            f"used: {error}",
            remedy="Name files in PEM form in SSL_CERT_FILE, SSL_CLIENT_CERT or pip's settings.",
        ) from error
    return context
