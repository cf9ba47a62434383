"""npm packages: a tarball, read as hostile input, as the members of an archive."""
