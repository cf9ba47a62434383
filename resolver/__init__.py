"""Who is asking, and what may they see: projects, locks, manifests, callers and bindings."""
