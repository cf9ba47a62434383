"""Stores beyond one machine: OCI registries, and directories on any HTTP server."""
