"""Talk between our own processes: the control socket, and jobs of the daemon."""
