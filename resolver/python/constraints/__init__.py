"""Requirement files that no project names, and settings do."""
