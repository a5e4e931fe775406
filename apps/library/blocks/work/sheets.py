"""Tables out of CSV texts and Excel files."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

#: A file with more rows than this is refused.
MAX_ROWS = 100_000
#: How much is read of one cell.
MAX_FIELD_CHARS = 1_000_000
#: How the files of Excel since 2007 begin: they are ZIP archives.
ARCHIVE = b"PK\x03\x04"


class Layout(TypedDict):
    """How a table is to be read."""

    delimiter: str
    quotechar: str
    escapechar: str
    has_header: bool
    skip_rows: int
    strip: bool
    skip_columns: list[str]


def rows_of_csv(text: str, layout: Layout) -> list[dict[str, str]]:
    """Return the rows of a CSV text, by column.

    Raises:
        ValueError: It can't be read as one.
    """
    csv.field_size_limit(MAX_FIELD_CHARS)
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=layout["delimiter"],
            quotechar=layout["quotechar"] or None,
            escapechar=layout["escapechar"] or None,
            quoting=csv.QUOTE_MINIMAL if layout["quotechar"] else csv.QUOTE_NONE,
        )
        return _table(reader, layout)
    except (TypeError, csv.Error) as error:
        raise ValueError(f"The table can't be read: {error}.") from None


def rows_of_excel(content: bytes, layout: Layout) -> list[dict[str, str]]:
    """Return the rows of an Excel file's first sheet, by column, with every cell as text.

    Raises:
        ValueError: It can't be read as one.
    """
    import zipfile
    from xml.etree.ElementTree import ParseError

    from openpyxl import load_workbook  # type: ignore[import-untyped]  # only children need it
    from openpyxl.utils.exceptions import InvalidFileException  # type: ignore[import-untyped]

    if not content.startswith(ARCHIVE):
        raise ValueError("This isn't an Excel file of the kind .xlsx.")
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        rows = ([_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True))
        return _table((row for row in rows if any(row)), layout)
    except (InvalidFileException, zipfile.BadZipFile, ParseError, LookupError, TypeError, OSError, EOFError):
        raise ValueError("The Excel file can't be read.") from None


def _table(rows: Iterable[list[str]], layout: Layout) -> list[dict[str, str]]:
    # Empty lines are no rows.
    rest: Iterator[list[str]] = iter(row for row in rows if row)
    header = next(rest, []) if layout["has_header"] else None
    rest = itertools.islice(rest, layout["skip_rows"], None)
    table = [_row(row, header, layout) for row in itertools.islice(rest, MAX_ROWS + 1)]
    if len(table) > MAX_ROWS:
        raise ValueError(f"The table has more than {MAX_ROWS} rows.")
    return table


def _row(cells: list[str], header: list[str] | None, layout: Layout) -> dict[str, str]:
    strip = layout["strip"]
    row: dict[str, str] = {}
    for place, cell in enumerate(cells):
        name = header[place] if header and place < len(header) else str(place)
        name = name.strip() if strip else name
        if name not in layout["skip_columns"]:
            row[name] = cell.strip() if strip else cell
    return row


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, (datetime.datetime, datetime.date, datetime.time)):
        return cell.isoformat()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
