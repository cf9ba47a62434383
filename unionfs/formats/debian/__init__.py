"""Debian as a kind of namespace: sets of its packages, as one tree to be laid over /usr."""
