"""A store in a repository of an OCI registry."""
