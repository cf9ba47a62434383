"""Package formats, read as hostile input."""
