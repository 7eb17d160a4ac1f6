"""``python -m cign``: the command line."""

import sys

from cign.cli.entry_point import main

sys.exit(main())
