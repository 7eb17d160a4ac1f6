"""Columns of a Parquet file that hold the features of each clip as lists of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cign.data.formats.delimited import column_names
from cign.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def parquet_schema(table: Path) -> dict[str, pa.Field]:
    """Return the columns of a Parquet file by their names in lower case.

    Raises:
        InputError: If it cannot be read, or two columns have the same name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with table.open("rb") as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _invalid(table, error) from None
    return dict(zip(column_names(schema.names, f"table {table}"), schema, strict=True))


def _invalid(table: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError("damaged", f"table {table} is not valid Parquet ({reason}): write it again")


def is_list(field: pa.Field) -> bool:
    """Whether a column holds lists, of fixed or varying length."""
    import pyarrow.types as of

    kind = field.type
    return bool(of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind))


def list_array(table: Path, kind: str) -> NDArray[Any]:
    """Return a column of lists, or of lists of lists, as an array.

    Args:
        table: The Parquet file.
        kind: Name of the column in lower case.

    Returns:
        Shape [N, D] or [N, T, D], in the precision of the file.

    Raises:
        InputError: If a list is missing, has another length than the first, or holds no floats.
    """
    import pyarrow as pa

    from cign.data.clip_file import read_columns

    field = parquet_schema(table)[kind]
    what = f"column {kind} of table {table}"
    try:
        chunks = read_columns(table, [field.name]).column(0).chunks
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _invalid(table, error) from None
    lengths: list[int] = []
    parts = []
    for chunk in chunks:
        values: Any = chunk
        level = 0
        while is_list(pa.field("", values.type)):
            lengths, level = _with_length(values, lengths, level, what)
            values = values.flatten()
        if values.null_count:
            raise InputError(
                "bad-list", f"{what} has missing values: replace them, or leave the clips out"
            )
        parts.append(values.to_numpy(zero_copy_only=False))
    whole = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return whole.reshape(-1, *(lengths or [1]))


def _with_length(values: Any, lengths: list[int], level: int, what: str) -> tuple[list[int], int]:
    """Compare the lengths of the lists of a level with the first list of that level.

    Raises:
        InputError: If they differ.
    """
    import pyarrow.compute as pc

    found = set(pc.unique(pc.list_value_length(values)).to_pylist())
    expected = {lengths[level]} if level < len(lengths) else set(sorted(found - {None})[:1])
    if found - expected:
        odd = sorted(("null" if one is None else str(one)) for one in found | expected)
        raise InputError(
            "bad-list",
            f"{what} has lists of different lengths ({', '.join(odd[:3])}): give all clips the "
            "same shape, for example by averaging over the tokens",
        )
    return lengths if level < len(lengths) else [*lengths, *expected], level + 1
