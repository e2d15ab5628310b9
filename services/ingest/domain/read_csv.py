"""CSV as text, in the declared dialect only: chunks of rows with the physical line each record starts on.

A row whose structure is wrong goes to the quarantine. A file that cannot be read as a table at all is refused.
"""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from gzip import BadGzipFile
from typing import BinaryIO

from services.ingest.domain.model import BadRow, FileRefused, shown
from tenon.core.errors import Place, did_you_mean
from tenon.core.specs import CsvDialect, DatasetSpec

CHUNK_ROWS = 20_000
MAX_LINE = 1 << 20
"""Characters in one physical line; a longer one is not a table of rows."""
MAX_RECORD_LINES = 10_000
"""Physical lines in one record: quoted text with line breaks is shorter, a forgotten quote is not."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAGIC = {
    b"\x1f\x8b": ("gzip data", "give the file a name that ends in .gz, or send `Content-Encoding: gzip`"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "send the CSV file inside it"),
    b"BZh": ("bzip2 data", "decompress it, or use gzip"),
    b"\xfd7zXZ": ("xz data", "decompress it, or use gzip"),
    b"PAR1": ("a Parquet file", "send CSV"),
    b"%PDF": ("a PDF document", "send CSV"),
}
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True)
class Chunk:
    """Some consecutive rows. `columns` are the declared columns that the file has, in the header's order."""

    header: list[str]
    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """Rows of either kind."""
        return len(self.lines) + len(self.bad)


def read_chunks(stream: BinaryIO, file: str, spec: DatasetSpec, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Read a CSV file. Raises `FileRefused` naming file, line and column when it is not such a file.

    Memory is bounded by `chunk_rows` rows and by the caps on a field (128 Ki characters), a line and a record.
    """
    try:
        yield from _Reader(stream, file, spec, chunk_rows).chunks()
    except (BadGzipFile, EOFError, zlib.error) as err:
        raise FileRefused(
            "GZIP_CORRUPT", f"{file} is not whole gzip data: {err}", place=Place(file), hint="send it again"
        ) from err
    except UnicodeDecodeError as err:
        # Only UTF-16 comes here: the other encodings let bad bytes through as marks, and only their rows suffer.
        raise FileRefused(
            "NOT_TEXT", f"{file} is not {spec.csv.encoding} text: {err.reason}", place=Place(file)
        ) from err


class _Lines:
    """The physical lines of a text, remembering those of the record being read and what is wrong with them."""

    def __init__(self, text: io.TextIOWrapper, file: str) -> None:
        self._text, self._file = text, file
        self.number = 0
        self.pending: list[str] = []
        self.fault: str | None = None

    def __iter__(self) -> Iterator[str]:
        readline, pending = self._text.readline, self.pending
        while line := readline(MAX_LINE):
            self.number += 1
            if len(line) >= MAX_LINE:
                raise FileRefused(
                    "LINE_TOO_LONG", f"line {self.number} has more than {MAX_LINE} characters",
                    place=Place(self._file, self.number), hint="is this a CSV file?",
                )  # fmt: skip
            if "\0" in line:
                self.fault = "NUL_BYTE"
            elif not line.isascii() and _SURROGATE.search(line):
                self.fault = "UNDECODABLE_BYTES"
            pending.append(line)
            if len(pending) > MAX_RECORD_LINES:
                raise _TooManyLines
            yield line


class _TooManyLines(Exception):
    """A record does not end."""


class _Reader:
    def __init__(self, stream: BinaryIO, file: str, spec: DatasetSpec, chunk_rows: int) -> None:
        self._file, self._spec, self._chunk_rows = file, spec, chunk_rows
        self._dialect = spec.csv
        # errors="surrogateescape" turns each undecodable byte into a mark that is found again, row by row.
        errors = "surrogatepass" if self._dialect.encoding == "utf-16" else "surrogateescape"
        encoding = "utf-8-sig" if self._dialect.encoding == "utf-8" else self._dialect.encoding
        self._buffered = io.BufferedReader(stream, 1 << 18) if isinstance(stream, io.RawIOBase) else stream
        self._check_magic()
        text = io.TextIOWrapper(self._buffered, encoding=encoding, errors=errors, newline="")
        self._lines = _Lines(text, file)
        self._csv = csv.reader(
            iter(self._lines), delimiter=self._dialect.delimiter, quotechar=self._dialect.quote,
            doublequote=True, strict=True,
        )  # fmt: skip

    def chunks(self) -> Iterator[Chunk]:
        header, line = self._header()
        self._check_header(header, line)
        width = len(header)
        chunk = Chunk(header)
        add_line, add_row = chunk.lines.append, chunk.rows.append
        lines, pending = self._lines, self._lines.pending
        while True:
            start = lines.number + 1
            try:
                row = next(self._csv)
            except StopIteration:
                break
            except csv.Error as err:
                chunk.bad.append(self._structure_problem(err, start))
            except _TooManyLines:
                raise self._unterminated() from None
            else:
                if lines.fault is not None:
                    chunk.bad.append(_faulty(lines.fault, start, row))
                elif len(row) == width:
                    add_line(start)
                    add_row(row)
                elif row:
                    chunk.bad.append(_ragged(start, row, width))
            pending.clear()
            lines.fault = None
            if chunk.rows_read >= self._chunk_rows:
                yield chunk
                chunk = Chunk(header)
                add_line, add_row = chunk.lines.append, chunk.rows.append
        if chunk.rows_read:
            yield chunk

    def _check_magic(self) -> None:
        head = self._buffered.peek(8)[:8] if isinstance(self._buffered, io.BufferedReader) else b""
        self._bom = 3 if head.startswith(b"\xef\xbb\xbf") and self._dialect.encoding == "utf-8" else 0
        for magic, (what, hint) in _MAGIC.items():
            if head.startswith(magic):
                raise FileRefused(
                    "NOT_CSV", f"{self._file} is {what}, not CSV text", place=Place(self._file, 1), hint=hint
                )
        if head.startswith(_UTF16_BOMS) and self._dialect.encoding != "utf-16":
            raise FileRefused(
                "ENCODING_MISMATCH",
                f"{self._file} is UTF-16 text, but data set {self._spec.name!r} declares {self._dialect.encoding}",
                place=Place(self._file, 1), hint="declare `csv: {encoding: utf-16}` or save the file as UTF-8",
            )  # fmt: skip

    def _header(self) -> tuple[list[str], int]:
        header: list[str] = []
        start = 1
        while not header:
            start = self._lines.number + 1
            try:
                header = next(self._csv)
            except StopIteration:
                raise FileRefused("EMPTY_FILE", f"{self._file} is empty", place=Place(self._file, 1)) from None
            except csv.Error as err:
                self._structure_problem(err, start)
                raise FileRefused(
                    "HEADER_INVALID",
                    f"the header is not in the declared dialect: {err}",
                    place=Place(self._file, start),
                ) from None
            except _TooManyLines:
                raise self._unterminated() from None
        if self._lines.fault is not None:
            raise self._not_text(start)
        self._lines.pending.clear()
        return header, start

    def _not_text(self, start: int) -> FileRefused:
        """The header has bytes that are no text: find the first one."""
        text = "".join(self._lines.pending)
        position = next(i for i, char in enumerate(text) if char == "\0" or _SURROGATE.match(char))
        # A lone surrogate of UTF-16 cannot be written back in UTF-8, hence the two spellings.
        if self._dialect.encoding == "utf-16":
            offset = 2 + 2 * position
        else:
            offset = self._bom + len(text[:position].encode(self._dialect.encoding, "surrogateescape"))
        line = start + len(re.findall(r"\r\n|\r|\n", text[:position]))
        what = "a NUL byte" if text[position] == "\0" else f"a byte that is not {self._dialect.encoding}"
        hint = (
            None
            if text[position] == "\0"
            else "declare the file's encoding under `csv.encoding`: latin-1, cp1252, utf-16"
        )
        return FileRefused(
            "NOT_TEXT", f"{self._file} has {what} in its header (at byte {offset})",
            place=Place(self._file, line), hint=hint, data={"byte_offset": offset},
        )  # fmt: skip

    def _check_header(self, header: list[str], line: int) -> None:
        declared = self._spec.columns
        seen: set[str] = set()
        unknown = []
        for index, name in enumerate(header):
            where = Place(self._file, line, index + 1, shown(name))
            if name in seen:
                raise FileRefused("COLUMN_DUPLICATE", f"the header has column {shown(name)!r} twice", place=where)
            seen.add(name)
            if name not in declared:
                unknown.append((name, where))
        absent = [name for name in declared if name not in seen]
        for name, where in unknown:
            near = did_you_mean(name, absent)
            if self._spec.extra_columns == "refuse" or near is not None:
                raise FileRefused(
                    "COLUMN_UNKNOWN",
                    f"data set {self._spec.name!r} has no column {shown(name)!r}",
                    place=where,
                    hint=f"did you mean {near!r}?" if near else self._unknown_hint(header),
                )
        for name in absent:
            if not declared[name].nullable:
                raise FileRefused(
                    "COLUMN_MISSING", f"the header has no column {name!r}, which is required",
                    place=Place(self._file, line, None, name),
                    hint=f"the header has: {shown(', '.join(header))}",
                )  # fmt: skip

    def _unknown_hint(self, header: list[str]) -> str:
        for delimiter, name in ((";", "semicolon"), ("\t", "tab"), ("|", "bar"), (",", "comma")):
            if len(header) == 1 and delimiter != self._dialect.delimiter and delimiter in header[0]:
                return f"the fields seem to be separated by a {name}; declare `csv: {{delimiter: {delimiter!r}}}`"
        return "declare it under `columns`, or set `extraColumns: ignore`"

    def _structure_problem(self, err: csv.Error, start: int) -> BadRow:
        """A row for the quarantine, or `FileRefused` when a quote was opened and never closed."""
        text = str(err)
        too_long = "field larger" in text
        if "unexpected end of data" in text or (too_long and len(self._lines.pending) > 1):
            raise self._unterminated() from None
        record = "".join(self._lines.pending).rstrip("\r\n")
        if too_long:
            return BadRow(
                start, "FIELD_TOO_LONG", None, shown(_clean(record)), "a field has more than 131072 characters"
            )
        return BadRow(
            start, "QUOTES_MALFORMED", None, shown(_clean(record)),
            f"there is text after a closing quote ({self._dialect.quote})", fields=(_clean(record),),
        )  # fmt: skip

    def _unterminated(self) -> FileRefused:
        line, column = open_quote(self._lines.pending, self._dialect)
        line += self._lines.number - len(self._lines.pending)
        return FileRefused(
            "QUOTE_UNTERMINATED", f"a quote is opened on line {line} and never closed",
            place=Place(self._file, line, column), hint=f'write a quote inside a value twice: {self._dialect.quote * 2}',
        )  # fmt: skip


def open_quote(lines: list[str], dialect: CsvDialect) -> tuple[int, int]:
    """Line and column (from 1) of the quote that is still open at the end of some lines of one record.

    >>> open_quote(['1,"a"\\n', '2,"b\\n', 'c\\n'], CsvDialect())
    (2, 3)
    """
    place, inside, field_start = (1, 1), False, True
    for number, line in enumerate(lines, 1):
        index = 0
        while index < len(line):
            char = line[index]
            if inside:
                if char == dialect.quote:
                    if line[index + 1 : index + 2] == dialect.quote:
                        index += 1
                    else:
                        inside = False
            elif char == dialect.quote and field_start:
                inside, place = True, (number, index + 1)
            field_start = char in (dialect.delimiter, "\n", "\r")
            index += 1
    return place


def _clean(text: str) -> str:
    """Text that can be encoded: marks of undecodable bytes become U+FFFD, NUL becomes its picture."""
    return _SURROGATE.sub("\ufffd", text).replace("\0", "\u2400")


def _faulty(fault: str, line: int, row: list[str]) -> BadRow:
    fields = tuple(_clean(value) for value in row)
    worst = next((value for raw, value in zip(row, fields, strict=True) if raw != value), "")
    message = (
        "the row has a NUL byte" if fault == "NUL_BYTE" else "the row has bytes that are not in the declared encoding"
    )
    return BadRow(line, fault, None, shown(worst), message, fields=fields)


def _ragged(line: int, row: list[str], width: int) -> BadRow:
    return BadRow(
        line, "FIELD_COUNT", None, None, f"the row has {len(row)} field{'s' * (len(row) != 1)}, the header has {width}",
        fields=tuple(row),
    )  # fmt: skip
