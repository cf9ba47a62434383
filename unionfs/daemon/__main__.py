"""`python -m unionfs.daemon`: how one is started, and how a supervisor becomes another."""

import sys

from unionfs.daemon.process import main

sys.exit(main())
