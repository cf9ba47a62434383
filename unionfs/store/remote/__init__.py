"""Stores beyond this machine."""
