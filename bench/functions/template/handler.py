"""HTML templating with escaping: a table of many cells."""

import hashlib
import html
import string

PAGE = string.Template("<!doctype html><title>$title</title><table>$rows</table>")
ROW = string.Template("<tr>$cells</tr>")
CELL = string.Template('<td class="$kind">$text</td>')


def handler(event, context):
    """Render event["rows"] (default 60) by event["columns"] (default 10) cells; return size in bytes and digest."""
    rows = []
    for y in range(event.get("rows", 60)):
        cells = (
            CELL.substitute(kind="odd" if (x + y) % 2 else "even", text=html.escape(f"<{x} & {y}>"))
            for x in range(event.get("columns", 10))
        )
        rows.append(ROW.substitute(cells="".join(cells)))
    page = PAGE.substitute(title=html.escape("Rows & columns"), rows="".join(rows)).encode()
    return {"bytes": len(page), "sha256": hashlib.sha256(page).hexdigest()}
