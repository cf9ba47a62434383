"""Python as a kind of namespace: what becomes of its locks, and the files a view has of its own."""
