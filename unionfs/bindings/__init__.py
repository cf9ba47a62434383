"""Bindings by hand: of processes, cgroups and containers."""
