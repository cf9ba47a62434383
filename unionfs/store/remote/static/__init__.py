"""A store as files, on any HTTP server or on this machine."""
