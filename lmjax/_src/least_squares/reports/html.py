"""A report as a table of a page, for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from lmjax._src.least_squares.reports import text


def html_of(report: dict[str, Any]) -> str:
    """What a notebook shows of a :meth:`Solution.summary`: one element that needs nothing else, in
    which everything is escaped.
    """
    head, *rows = text.parameter_rows(report)
    parts = [
        f"<p><b>{escape(report['status'])}</b>: {escape(report['message'])}<br>",
        f"{escape(text.counts(report))}<br>{escape(text.goodness(report))}</p>",
        f"<table><thead><tr>{_cells('th', head)}</tr></thead><tbody>",
        *(f"<tr>{_cells('td', row)}</tr>" for row in rows),
        "</tbody></table>",
        *(f"<p>{escape(line)}</p>" for line in text.left_out(report, "parameters", "see params")),
    ]
    for title, lines in (
        ("Not determined by the data, to first order", text.undetermined(report)),
        ("Correlations above 0.1", text.correlations(report)),
        ("Notes", report["notes"]),
    ):
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            parts.append(f"<p>{title}</p><ul>{items}</ul>")
    return f"<div>{''.join(parts)}</div>"


def preformatted(words: str) -> str:
    """Words that are no report."""
    return f"<pre>{escape(words)}</pre>"


def _cells(tag: str, row: tuple[str, ...]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
