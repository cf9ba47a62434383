"""Editing what a project lists: all of it, or nothing."""
