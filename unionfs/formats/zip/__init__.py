"""Zip files that have one reading only."""
