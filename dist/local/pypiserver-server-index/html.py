"""What every page of the index in HTML is made of (PEP 503)."""

from __future__ import annotations

from server.http.bottle import html_escape

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">{head}
        <title>{title}</title>
    </head>
    <body>
        <h1>{title}</h1>
{lines}
    </body>
</html>
"""


def page(title: str, lines: str, **said: str | None) -> str:
    """A page of links; what is `said` of it stands in its head, with `:` for `__` and `-` for `_` in the names."""
    head = "".join(
        f'\n        <meta name="{_name(name)}" content="{html_escape(text)}">' for name, text in said.items() if text
    )
    return _PAGE.format(title=html_escape(title), lines=lines, head=head)


def link(href: str, text: str, **attributes: str | None) -> str:
    """A line of such a page; attributes have `-` for `_`, and those that are None are left out."""
    given = {"href": href, **attributes}
    written = "".join(f' {_name(name)}="{html_escape(value)}"' for name, value in given.items() if value is not None)
    return f"        <a{written}>{html_escape(text)}</a><br>"


def _name(name: str) -> str:
    return name.replace("__", ":").replace("_", "-")
