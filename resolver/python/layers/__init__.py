"""Layers by hand: directories, eggs, wheels and projects that are laid over or under a lock."""
