"""Transports: the only modules that know FUSE."""
