"""Serves views: archives, the store, the union, and the file system that shows them."""
