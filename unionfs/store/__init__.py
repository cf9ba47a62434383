"""Where archives lie."""
