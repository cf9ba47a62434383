"""Node's side: projects, npm's locks and settings, and what of a lock this machine needs."""
