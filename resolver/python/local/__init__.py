"""What of this machine a project's packages come from."""
