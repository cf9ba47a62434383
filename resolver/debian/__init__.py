"""Debian's side: which packages apt would install, and where each is to be had."""
