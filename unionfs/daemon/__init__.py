"""The processes of a mount: how they live, follow one another, and what they answer."""
