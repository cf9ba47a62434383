"""What the files of a project of Python's ask for, and what a lock was made from."""
