"""The commands of a page of the docs."""

import re
from pathlib import Path


def commands(page):
    """The command lines of a page, in its order."""
    blocks = re.findall(r"^```\n(cign .*?)^```$", page.read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def matching(pattern):
    """What a shell makes of a pattern."""
    return sorted(map(str, Path().glob(pattern)))
