"""Hashes that a project states of its files."""
