"""Where `current` leads, and programs that wait for a view."""
