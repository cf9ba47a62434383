"""What of a lock fits an interpreter."""
