"""How processes of ours talk: the control socket, and jobs of the daemon."""
