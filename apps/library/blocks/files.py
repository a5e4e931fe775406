"""Blocks that read files: texts, tables and XML."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.child_calls import PATIENT_SECONDS, in_child
from apps.library.blocks.files_access import MAX_FILE_BYTES, FileContent, FilePin, read_file
from apps.library.blocks.reaching import ReachingBlock
from apps.library.blocks.work.markup import parse_xml
from apps.library.blocks.work.sheets import ARCHIVE, Layout, rows_of_csv, rows_of_excel
from apps.library.errors import BlockError

#: More pieces than this are refused: each is a value of its own for the rest of the graph.
MAX_PIECES: Final = 10_000
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def text_in(file: FileContent) -> str:
    """Return a file's text.

    Raises:
        BlockError: It isn't text.
    """
    for mark, encoding in _BOMS:
        if file.content.startswith(mark):
            return file.content.decode(encoding, "replace")
    if b"\0" in file.content:
        raise BlockError("The file isn't text.")
    try:
        return file.content.decode()
    except UnicodeDecodeError:
        return file.content.decode("cp1252", "replace")


class FileRead(ReachingBlock["FileRead.Input"]):
    """Reads a text."""

    id = "3735a31f-7e18-4aca-9e90-08a7120674bc"
    name = "File Read"
    description = "Reads a text file, whole or in pieces."
    categories = frozenset({Category.TEXT, Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        file_input: FilePin = Field(description="A URL, a data URI or a file of the workspace.")
        delimiter: str = Field(default="", description="What lies between rows; line breaks when nothing is named.")
        size_limit: int = Field(default=0, ge=0, description="How many characters a piece has at most; 0 for any.")
        row_limit: int = Field(default=0, ge=0, description="How many rows a piece has; 0 for 1 with a delimiter.")
        skip_size: int = Field(default=0, ge=0, description="How many characters at the beginning are left out.")
        skip_rows: int = Field(default=0, ge=0, description="How many rows after them are left out.")

    class Output(Pins):
        """Its output pins."""

        content: str = Field(description="The text, or its pieces one after the other.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it.

        Raises:
            BlockError: It can't be read, isn't text, or falls into too many pieces.
        """
        file = await read_file(inputs.file_input, context=context, allow=self.allow)
        for count, piece in enumerate(pieces(text_in(file), inputs)):
            if count == MAX_PIECES:
                raise BlockError(f"The file falls into more than {MAX_PIECES} pieces.")
            yield "content", piece


def pieces(text: str, how: FileRead.Input) -> Iterator[str]:
    """Cut a text in rows and in pieces of them."""
    text = text[how.skip_size :]
    delimiter = how.delimiter or "\n"
    row_limit = how.row_limit or (1 if how.delimiter else 0)
    if how.skip_rows or row_limit:
        rows = text.split(delimiter)[how.skip_rows :]
        step = row_limit or len(rows) or 1
        parts = [delimiter.join(rows[start : start + step]) for start in range(0, len(rows), step)]
    else:
        parts = [text]
    for part in parts:
        size = how.size_limit or len(part) or 1
        for start in range(0, max(len(part), 1), size):
            yield part[start : start + size]


class ReadSpreadsheet(ReachingBlock["ReadSpreadsheet.Input"]):
    """Reads a table."""

    id = "acf7625e-d2cb-4941-bfeb-2819fc6fc015"
    name = "Read Spreadsheet"
    description = "Reads a CSV text or file, or an Excel file (.xlsx), as rows with the cells by column."
    categories = frozenset({Category.TEXT, Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        contents: str | None = Field(default=None, description="A CSV text.")
        file_input: FilePin | None = Field(default=None, description="A CSV or Excel file instead.")
        delimiter: str = Field(default=",", min_length=1, max_length=1, description="What lies between cells.")
        quotechar: str = Field(default='"', max_length=1, description="What is around cells with special characters.")
        escapechar: str = Field(default="\\", max_length=1, description="What is before special characters.")
        has_header: bool = Field(default=True, description="Whether the first row names the columns.")
        skip_rows: int = Field(default=0, ge=0, description="How many rows after that are left out.")
        strip: bool = Field(default=True, description="Whether white space around cells goes.")
        skip_columns: list[str] = Field(default=[], description="Columns that are left out.")
        produce_singular_result: bool = Field(default=False, description="Whether rows are put out one by one.")

    class Output(Pins):
        """Its output pins."""

        row: dict[str, str] = Field(description="A row, if they are put out one by one.")
        rows: list[dict[str, str]] = Field(description="All rows, if not.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it.

        Raises:
            BlockError: There is no table, or it can't be read.
        """
        layout = Layout(
            delimiter=inputs.delimiter,
            quotechar=inputs.quotechar,
            escapechar=inputs.escapechar,
            has_header=inputs.has_header,
            skip_rows=inputs.skip_rows,
            strip=inputs.strip,
            skip_columns=inputs.skip_columns,
        )
        rows = await self._rows(inputs, layout, context)
        if not inputs.produce_singular_result:
            yield "rows", rows
            return
        if len(rows) > MAX_PIECES:
            raise BlockError(f"The table has more than {MAX_PIECES} rows, too many to be put out one by one.")
        for row in rows:
            yield "row", row

    async def _rows(self, inputs: Input, layout: Layout, context: BlockContext) -> list[dict[str, str]]:
        if not inputs.file_input:
            if inputs.contents is None:
                raise BlockError("There is neither a text nor a file to read.")
            return await in_child(rows_of_csv, inputs.contents, layout, timeout_seconds=PATIENT_SECONDS)
        file = await read_file(inputs.file_input, context=context, allow=self.allow)
        if file.content.startswith(ARCHIVE):
            return await in_child(rows_of_excel, file.content, layout, timeout_seconds=PATIENT_SECONDS)
        return await in_child(rows_of_csv, text_in(file), layout, timeout_seconds=PATIENT_SECONDS)


class XMLParser(Block["XMLParser.Input"]):
    """Reads XML."""

    id = "286380af-9529-4b55-8be0-1d7c854abdb5"
    name = "XML Parser"
    description = "Reads XML as nested dictionaries; attributes are named @name, text beside them #text."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input_xml: str = Field(description="The XML text, with one root and at most 10 MB.")

    class Output(Pins):
        """Its output pins."""

        parsed_xml: dict[str, Any] = Field(description="What it says.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it.

        Raises:
            BlockError: It is too large, malformed, or has entities of its own.
        """
        if len(inputs.input_xml.encode(errors="replace")) > MAX_FILE_BYTES:
            raise BlockError("The XML text is larger than 10 MB.")
        yield "parsed_xml", await in_child(parse_xml, inputs.input_xml.strip(), timeout_seconds=PATIENT_SECONDS)
