"""Which view a process gets: the rules, bindings by hand, and who looks."""
