"""Debian packages: a .deb, read as hostile input, as the members of an archive."""
