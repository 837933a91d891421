"""The documentation lists the operations that there are."""

import re
from pathlib import Path

from runtime.api import control, shapes

PAGE = Path(__file__).parents[3] / "docs" / "lambda-api.md"


def test_every_operation_stands_where_it_belongs():
    offered, truthful, refused = (
        set(re.findall(r"`(\w+)`", part))
        for part in re.split(
            r"Offered, beside `Invoke`:|Answered truthfully.*:|Answered with 501.*:", PAGE.read_text()
        )[1:]
    )
    assert offered | truthful == set(control.HANDLERS)
    invoking = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
    assert refused == set(shapes.service().operation_names) - set(control.HANDLERS) - invoking
