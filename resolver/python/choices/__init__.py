"""What a project asks for by its own choosing."""
