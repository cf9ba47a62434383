"""Other users at root's mount: looked at, and served, by processes of their own."""
