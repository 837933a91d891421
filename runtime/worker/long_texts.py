"""Long texts in JSON, read and written by memchr.

simplejson looks at each character of a text, which for 6 MB takes longer than all copies of it on its way. Long texts
are mostly base64: nothing in them is escaped or has to be, and to find that out for each character in question by
memchr takes a fraction of it.
"""

from typing import Any

import simplejson
from simplejson import raw_json, scanner

LONG = 64 * 1024
"""Characters from which on a text is long."""
_REST = 16 * 1024
"""Characters outside of long texts up to which Python reads a document."""
_PIECE = 256 * 1024
"""Characters of a text that stay in the processor's cache while they are looked through again and again."""
_ESCAPED = ('"', "\\", "\x7f", *map(chr, range(32)))
"""The ASCII characters that some encoder of ours does not write as they are."""

_decoder = simplejson.JSONDecoder()


def decode(text: str) -> Any:
    """Return what ``JSONDecoder().decode`` returns; raise what it raises.

    But a control character is taken as it is where it stands in a long text: the server let none pass.
    """
    ends = _ends(text) if len(text) > LONG else None
    return _Decoder(ends).decode(text) if ends else _decoder.decode(text)


class _Decoder(simplejson.JSONDecoder):
    """The decoder in Python, which knows where some texts end."""

    def __init__(self, ends: dict[int, int]) -> None:
        super().__init__()
        usual = self.parse_string

        def parse_string(text: str, begin: int, *rest: Any) -> tuple[str, int]:
            end = ends.get(begin)
            found: tuple[str, int] = usual(text, begin, *rest) if end is None else (text[begin:end], end + 1)
            return found

        self.parse_string = parse_string
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]  # simplejson has it, its stubs do not


def _ends(text: str) -> dict[int, int] | None:
    """Return where the long texts of a document begin, and where they end; None where there is much beside them."""
    found: dict[int, int] = {}
    rest = position = 0
    while begin := text.find('"', position) + 1:
        end = text.find('"', begin)
        is_long = end - begin > LONG and text.find("\\", begin, end) < 0
        while 0 <= end <= begin + _REST and _is_escaped(text, end):
            end = text.find('"', end + 1)
        rest += begin - position + 1
        if is_long:
            found[begin] = end
        else:
            rest += end - begin
        if end < 0 or rest > _REST:
            return None
        position = end + 1
    return found if rest + len(text) - position <= _REST else None


def _is_escaped(text: str, position: int) -> bool:
    before = position
    while text[before - 1] == "\\":
        before -= 1
    return (position - before) % 2 == 1


def encoded(result: Any) -> Any:
    """Return a result that encodes to the same, with long texts in it, or in the dict that it is, encoded already."""
    if type(result) is dict:
        for value in result.values():
            if type(value) is str and len(value) > LONG:
                return {key: _encoded(value) for key, value in result.items()}
        return result
    return _encoded(result) if type(result) is str and len(result) > LONG else result


def _encoded(value: Any) -> Any:
    if type(value) is not str or len(value) <= LONG or not value.isascii():
        return value
    for start in range(0, len(value), _PIECE):
        end = start + _PIECE
        for character in _ESCAPED:
            if value.find(character, start, end) >= 0:
                return value
    return raw_json.RawJSON(f'"{value}"')
