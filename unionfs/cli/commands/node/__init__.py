"""What commands do for projects of Node's, beside or instead of Python's."""
