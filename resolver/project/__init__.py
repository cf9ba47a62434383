"""Projects, whatever their kind: what is known of one, and whether it may be used."""
