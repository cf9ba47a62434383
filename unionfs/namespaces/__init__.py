"""Commands in a mount namespace of their own: they see mounts that nobody else does."""
