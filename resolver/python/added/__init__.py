"""What is added to a project for one run."""
