"""A project's links, as `up` makes them."""
