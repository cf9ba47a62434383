"""Locks that the project's own files have outdated: noticed, and made anew where that may be."""
