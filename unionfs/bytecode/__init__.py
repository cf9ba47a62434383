"""Bytecode as archives of its own, compiled once and shown beside its sources."""
