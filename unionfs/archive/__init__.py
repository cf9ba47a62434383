"""Our own format: compressed layers, verified when they are read, named by their content."""
