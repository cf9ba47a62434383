"""`pkgview store` and its subcommands."""
