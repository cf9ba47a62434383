"""Debian's packages, beside a command."""
