"""That ``bench all`` knows every scenario, and what it makes of them. To run them takes minutes, not seconds."""

import html.parser
import re
from pathlib import Path

import msgspec
from click import testing

from bench import __main__ as command
from bench import machine, result, scenarios

ROOT = Path(__file__).resolve().parents[3]
UNLIKE = {"events": "async"}
"""Modules that are not called as their scenario is."""


def test_every_scenario_is_among_all():
    files = {path.stem for path in (ROOT / "bench/scenarios").glob("*.py")} - {"__init__"}
    assert {UNLIKE.get(name, name) for name in files} == set(scenarios.ALL)


def test_the_documents_table_has_every_scenario():
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    table = text.partition("| scenario | what it does |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE)) == {*scenarios.ALL, "all"}
    named = re.findall(r"`([a-z]+)` \|$", text.partition("## Promises")[2].partition("## Method")[0], re.MULTILINE)
    assert named
    assert set(named) <= set(scenarios.ALL)


def test_all_takes_the_options_of_each():
    options = {name: {each.name for each in command.main.commands[name].params} for name in [*scenarios.ALL, "all"]}
    assert set().union(*options.values()) == options["all"]


class _Sections(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids = []

    def handle_starttag(self, tag, attrs):
        if tag == "h2":
            self.ids.append(dict(attrs)["id"])


def test_all_hands_its_options_to_every_scenario_and_writes_what_each_found(monkeypatch, tmp_path):
    place = msgspec.structs.replace(machine.environment(), busy=False)
    given = {}

    def stand_in(name):
        def run(setting):
            given[name] = setting
            return result.Result(
                scenario=name, title=f"<{name}>", command="", environment=place, isolation="", notes=[f"note of {name}"]
            )

        return run

    names = list(scenarios.ALL)
    monkeypatch.setattr(scenarios, "ALL", {name: stand_in(name) for name in names})
    file, page = tmp_path / "r.json", tmp_path / "r.html"
    options = ["--duration", "1", "--repeat", "2", "--count", "50"]
    ended = testing.CliRunner().invoke(command.main, ["all", *options, "--json", str(file), "--html", str(page)])
    assert ended.exit_code == 0, ended.output
    assert list(given) == names
    assert {(one.duration_s, one.repeat, one.count, one.install_peers) for one in given.values()} == {(1, 2, 50, False)}
    assert [each.scenario for each in result.load(file)] == names
    sections = _Sections()
    sections.feed(page.read_text(encoding="utf-8"))
    assert sections.ids == names


def test_what_was_found_before_an_interrupt_is_kept(monkeypatch, tmp_path):
    def interrupted(given):
        raise KeyboardInterrupt

    kept = result.Result(scenario="http", title="", command="", environment=machine.environment(), isolation="")
    monkeypatch.setattr(scenarios, "ALL", {"http": lambda given: kept, "mix": interrupted, "soak": lambda given: kept})
    ended = testing.CliRunner().invoke(command.main, ["all", "--json", str(tmp_path / "r")])
    assert ended.exit_code == 1
    assert "mix: interrupted" in ended.output
    assert [each.scenario for each in result.load(tmp_path / "r")] == ["http"]
