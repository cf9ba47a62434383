"""Archives that are fetched while they are read: who fetches, who waits, and what is kept."""
