"""What a model reads: a row's texts, and their token ids. Shared by the host and the jobs."""

from aar.reading.reader import WORD, Reader, Reading
from aar.reading.rows import Message, Row, Side, line_of, plain, read_rows, row_of, texts_of

__all__ = [
    "WORD",
    "Message",
    "Reader",
    "Reading",
    "Row",
    "Side",
    "line_of",
    "plain",
    "read_rows",
    "row_of",
    "texts_of",
]
