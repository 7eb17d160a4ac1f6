"""Media files that are wrong in every way a seed can draw."""

from __future__ import annotations

import random

LENGTHS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x01")


def mutate(data: bytes, other: bytes, seed: int) -> bytes:
    """Change a file in one to four places.

    Args:
        data: The file.
        other: Another one, parts of which may get into it.
        seed: The same seed gives the same bytes.
    """
    draw = random.Random(seed)
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        # Headers are at the ends of files; a third of the changes goes there.
        top = min(len(changed), 2000) if draw.random() < 0.33 else len(changed)
        place = draw.randrange(max(top, 1))
        length = draw.choice((1, 4, 64, 1000))
        kind = draw.randrange(7)
        if kind == 0:
            for at in range(place, min(place + length, len(changed))):
                changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place : place + length] = draw.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        elif kind == 4:
            changed[place : place + 4] = draw.choice(LENGTHS)
        elif kind == 5:
            start = draw.randrange(max(len(other), 1))
            changed[place : place + length] = other[start : start + length]
        else:
            del changed[place:]
    return bytes(changed)
