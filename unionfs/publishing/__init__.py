"""From a project to its view."""
