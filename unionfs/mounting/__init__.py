"""The kernel's table of mounts, mounting and unmounting."""
