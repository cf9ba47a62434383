"""One process, looked at: what `/proc` says of it."""
