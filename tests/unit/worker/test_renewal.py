"""What a copy renews."""

import os

from runtime.worker import renewal


class Variables(dict):
    """An environment that counts what is done to it."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.changed = []

    def __setitem__(self, name, value):
        self.changed.append(name)
        super().__setitem__(name, value)

    def __delitem__(self, name):
        self.changed.append(name)
        super().__delitem__(name)


def test_an_environment_becomes_what_is_wanted_by_what_differs(monkeypatch):
    variables = Variables(KEPT="1", STREAM="old", SET_BY_INIT="yes")
    monkeypatch.setattr(os, "environ", variables)
    wanted = {"KEPT": "1", "STREAM": "new", "TOKEN": "t"}
    renewal.set_environment(wanted)
    assert variables == wanted
    assert sorted(variables.changed) == ["SET_BY_INIT", "STREAM", "TOKEN"]
