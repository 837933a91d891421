"""The documentation lists the operations that there are."""

import re
from pathlib import Path

from runtime.api import control, shapes

PAGE = Path(__file__).parents[3] / "docs" / "lambda-api.md"
HEADINGS = r"Offered, beside `Invoke`:|Answered truthfully.*:|Answered with 501.*:"


def test_every_operation_stands_where_it_belongs():
    lists = PAGE.read_text().partition("## What differs")[0]
    offered, truthful, refused = (set(re.findall(r"`(\w+)`", part)) for part in re.split(HEADINGS, lists)[1:])
    assert offered | truthful == set(control.HANDLERS)
    invoking = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
    assert refused == set(shapes.service().operation_names) - set(control.HANDLERS) - invoking
