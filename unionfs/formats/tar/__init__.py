"""Tar streams, read as hostile input: what npm's packages and Debian's have in common."""
