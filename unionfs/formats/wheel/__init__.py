"""Wheels: the members of an archive, and where they go."""
