"""Python as a kind of namespace: its interpreters, its locks, its indexes, and builds."""
