"""A page for a browser that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template

from bridge._src.description.visible import visible

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #222; --aside: #555; --line: #bbb; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --aside: #aaa; --line: #555; --page: #181818; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
thead th { border-bottom: 1px solid var(--line); }
tbody th { font-weight: normal; color: var(--aside); }
.numbers th:not(:first-child), .numbers td { text-align: right; }
.numbers td { white-space: nowrap; }
.numbers th:first-child { position: sticky; left: 0; background: var(--page); min-width: 6rem;
  overflow-wrap: anywhere; }
.facts td { overflow-wrap: anywhere; }
pre { font-size: .8rem; line-height: 1.35; }
code { overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #fff; }
figcaption { color: var(--aside); }
@media (max-width: 40rem) {
  th, td { padding-right: .5rem; }
  .numbers { font-size: .85rem; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --aside: #444; --line: #bbb; --page: #fff; }
  body { font-size: 11pt; max-width: none; padding: 0; }
  h2, figcaption { break-after: avoid; }
  tr, img { break-inside: avoid; }
  img { max-width: 49%; }
  img:only-of-type { max-width: 70%; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; font-size: 8pt; }
}
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """The page.

    Args:
        title: as plain text.
        sections: headings as plain text, and what stands below them as HTML; those without anything
            are left out.
    """
    body = "\n".join(f"<h2>{text(head)}</h2>\n{part}" for head, part in sections if part)
    return _PAGE.substitute(title=text(title), body=body)


def text(given: object) -> str:
    """Plain text, whoever wrote it, as HTML."""
    return escape(visible(str(given)))


def paragraph(given: object) -> str:
    """A paragraph of plain text."""
    return f"<p>{text(given)}</p>"


def code(given: str) -> str:
    """A line that is typed."""
    return f"<p><code>{text(given)}</code></p>"


def plain(given: object) -> str:
    """Lines whose columns stand below one another."""
    return f'<pre class="wide">{text(given)}</pre>'


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names with what they are."""
    lines = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts"><tbody>{lines}</tbody></table>'


def numbers(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of numbers, whose first column has the names of the rows."""

    def line(row: Sequence[object]) -> str:
        name, *cells = map(text, row)
        name = name.replace("_", "_<wbr>")  # where a narrow page may break it
        return f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

    heads = "".join(f"<th>{text(name)}</th>" for name in head)
    return (
        f'<div class="wide"><table class="numbers"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(map(line, rows))}</tbody></table></div>"
    )


def pictures(sources: Iterable[str], what: str, width: int) -> str:
    """Images beside one another, each at most so many dots wide, of what the caption says."""
    images = "".join(
        f'<img src="{escape(source)}" alt="{text(what)}" width="{width}">' for source in sources
    )
    return f"<figure><figcaption>{text(what)}</figcaption>{images}</figure>"
