"""Files that are wrong in every way a seed can draw: bytes, texts and JSON."""

from __future__ import annotations

import json
import random
from typing import Any

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


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 10**9, 10**40, 2**63, -(2**31), 1e308),
    *(float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "x",
        "nan",
        "1e999",
        "../..",
        "/etc/passwd",
        "a\x00b",
        "\ud800",
        "é\u202e",
        "x" * 9999,
    ),
    *([], {}, [None], [[]], {"": {}}, [1, "a", None], {"name": []}),
)
ODD_FIELDS = (
    *(
        "",
        '"',
        "'",
        ",",
        "\t",
        ";",
        "\x00",
        "\ufeff",
        "nan",
        "inf",
        "1e999",
        "-1",
        "99999999999999999999",
    ),
    *(
        "\u202e",
        "\ud7ff",
        "../../x",
        "/dev/null",
        "é",
        "&amp;",
        "<a>",
        "]]>",
        "&x;",
        "- ",
        "{",
        "x" * 5000,
    ),
)
ENCODINGS = ("utf-16", "utf-32", "latin-1", "utf-8-sig", "cp1252")


def mutate_json(data: bytes, seed: int) -> bytes:
    """Replace, remove, repeat or nest one to three values of a JSON file.

    Args:
        data: The file.
        seed: The same seed gives the same bytes.
    """
    draw = random.Random(seed)
    value = json.loads(data)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        holder, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif kind == 2 and isinstance(holder, dict):
            holder[draw.choice(("odd", "", "name", f"{key} "))] = holder.pop(key)
        elif kind == 3:
            holder[key] = draw.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
        else:
            holder[key] = draw.choice(ODD_VALUES)
    text = json.dumps(value, indent=draw.choice((None, 2)), ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.05:  # deeper than Python's stack
        text = draw.choice("[{").replace("{", '{"a":') * 100_000
    elif draw.random() < 0.05:  # a name twice
        text = text.replace("{", '{"format": 1, "format": 2, ', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every place of a value that holds another one, as holder and key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def mutate_text(data: bytes, seed: int) -> bytes:
    """Change one to three fields or lines of a text file, or its encoding.

    Args:
        data: The file.
        seed: The same seed gives the same bytes.
    """
    draw = random.Random(seed)
    text = data.decode()
    for _ in range(draw.randint(1, 3)):
        lines = text.splitlines(keepends=True) or [""]
        at = draw.randrange(len(lines))
        kind = draw.randrange(7)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif kind == 2:
            lines[at] = _with_odd_field(lines[at], draw)
        elif kind == 3:
            place = draw.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + draw.choice(ODD_FIELDS) + lines[at][place:]
        elif kind == 4:
            lines[at] = lines[at][: draw.randrange(len(lines[at]) + 1)]
        elif kind == 5:
            first, last = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[first], lines[last] = lines[last], lines[first]
        else:
            lines = [line.rstrip("\n") + draw.choice(("\r\n", "\r", "")) for line in lines]
        text = "".join(lines)
    if draw.random() < 0.1:
        return text.encode(draw.choice(ENCODINGS), "replace")
    return b"" if draw.random() < 0.02 else text.encode("utf-8", "surrogatepass")


def _with_odd_field(line: str, draw: random.Random) -> str:
    """Replace one field of a line, whatever separates its fields."""
    separator = max(",\t&:= ", key=line.count)
    fields = line.split(separator)
    fields[draw.randrange(len(fields))] = draw.choice(ODD_FIELDS)
    return separator.join(fields)
