"""What `pkgview enable` puts into a home besides a Python's files, and `disable` takes away."""
