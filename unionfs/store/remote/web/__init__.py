"""How servers are spoken to: HTTP, credentials, ranges."""
