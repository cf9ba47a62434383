"""What is laid by hand, as the members of archives."""
