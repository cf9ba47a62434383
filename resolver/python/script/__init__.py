"""Scripts with an inline block (PEP 723): their lock, by uv's own reading of the block."""
