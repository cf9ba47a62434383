"""Files from the network: side by side, checked while they stream, resumed, shared."""
