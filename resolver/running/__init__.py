"""Other programs that are run for a while: how they end with us."""
