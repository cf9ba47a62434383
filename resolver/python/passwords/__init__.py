"""Passwords in the addresses that a project's files name."""
