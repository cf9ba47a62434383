"""What is in use and what goes: gc, verify, pins, sizes, and archives for other stores."""
