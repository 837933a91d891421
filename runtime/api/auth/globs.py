"""The wildcards of policies: * for any text, ? for any one character; pure.

A pattern becomes one regular expression. Its parts stand in atomic groups, so that no pattern takes longer than its
length times that of the text.
"""

import re
from collections.abc import Callable

ARN_PARTS = 6


def text(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Return a test for texts."""
    expression = re.compile(_expression(pattern, "."), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    return lambda given: expression.fullmatch(given) is not None


def arn(pattern: str) -> Callable[[str], bool]:
    """Return a test for ARNs: a wildcard stays in its part, but in the last, where it may span colons.

    Raises ValueError where the pattern is no ARN. docs.aws.amazon.com/IAM/latest/UserGuide, "ARN condition operators":
    each of the six parts is checked separately.
    """
    parts = pattern.split(":", ARN_PARTS - 1)
    if len(parts) != ARN_PARTS or parts[0] != "arn":
        raise ValueError(f"{pattern!r} is not an ARN of six parts, arn:partition:service:region:account:resource")
    head = ":".join(_expression(part, "[^:]") for part in parts[:-1])
    expression = re.compile(f"{head}:{_expression(parts[-1], '.')}", re.DOTALL)
    return lambda given: expression.fullmatch(given) is not None


def _expression(pattern: str, any_one: str) -> str:
    pieces = [_literal(piece, any_one) for piece in pattern.split("*")]
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    # The first place where a piece in the middle fits is as good as any later one, so it need not be tried again.
    inner = "".join(f"(?>{any_one}*?{piece})" for piece in middle if piece)
    return f"{first}{inner}{any_one}*{last}"


def _literal(piece: str, any_one: str) -> str:
    return "".join(any_one if character == "?" else re.escape(character) for character in piece)
