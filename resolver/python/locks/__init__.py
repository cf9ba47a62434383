"""Lock files that are there: a project's own `pylock.toml`, and those that the state keeps."""
