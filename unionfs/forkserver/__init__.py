"""A process that has imported what commands need, and is forked for each.

Importing is most of what a short command takes. So a command that had to import leaves such a
process behind, the next ones of the same session and surroundings (`context`) ask it (`client`),
and it ends when it was not asked for a while (`server`). It is an optimization: whatever is not as
it should be, the command does its work itself.
"""

OFF = "PKGVIEW_FORKSERVER"
"""The variable that, as "0", says that no process is kept which waits for something to do."""

IDLE_SECONDS = 180.0
"""As long as somebody who works on something stops to think; one holds some 40 MB."""
