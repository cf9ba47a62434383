"""uv: run as a child, its settings as far as they matter to us, and what it keeps."""
