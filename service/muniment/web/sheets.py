"""Tables as files for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from fastapi import Response

#: How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"), and how one that is made a text.
_FORMULAS: Final = tuple("=+-@\t\r\n'")


def csv_of(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A table as a file of comma-separated values, in which nothing is a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    attached = {"Content-Disposition": f'attachment; filename="muniment-{name}.csv"'}
    return Response(file.getvalue().encode(), media_type="text/csv; charset=utf-8", headers=attached)


def _inert(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell
