"""Node as a kind of namespace: what becomes of npm's locks, and the files a view has of its own."""
