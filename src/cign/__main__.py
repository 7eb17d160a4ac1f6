"""``python -m cign``: the command line."""

import sys

from cign.cli import main

sys.exit(main())
