import msgspec
import pytest
from click import testing

from bench import __main__ as command
from bench import check, histogram, machine, model, result, scenarios, setting

PLACE = machine.Environment(
    machine="", cpu="", cores=2, memory_mb=1, kernel="", python="", versions={}, commit="", date="", load_average=0,
    busy=False,
)  # fmt: skip


def a_result(scenario, *measures):
    return result.Result(
        scenario=scenario, title="", command="", environment=PLACE, isolation="", measures=list(measures)
    )


def latency(name, *runs):
    return result.Distribution(name=name, title="", runs=[histogram.of(run) for run in runs])


def scalar(name, *values):
    return result.Scalar(name=name, title="", unit="", values=list(values), better="lower")


def of_row(row, scenario):
    return [promise for promise in check.PROMISES if promise.row == row and promise.scenario == scenario]


def http(seconds, rate):
    nanoseconds = round(seconds * 1e9)
    return a_result(
        "http",
        latency("http.c1.latency", [nanoseconds] * 100),
        scalar("http.c1.rate", rate),
        scalar("http.c32.rate", rate),
    )


def test_on_the_reference_machine_figures_count_as_they_are():
    verdicts = check.judge(of_row(2, "http"), http(199e-6, 5001), check.REFERENCE)
    assert [verdict.kept for verdict in verdicts] == [True, True]
    verdicts = check.judge(of_row(2, "http"), http(201e-6, 4999), check.REFERENCE)
    assert [verdict.kept for verdict in verdicts] == [False, False]


def test_a_machine_of_half_the_speed_may_take_twice_as_long_and_no_longer():
    slow = {**check.REFERENCE, "http": check.REFERENCE["http"] * 2, "rate": check.REFERENCE["rate"] / 2}
    assert [verdict.kept for verdict in check.judge(of_row(2, "http"), http(399e-6, 2501), slow)] == [True, True]
    assert [verdict.kept for verdict in check.judge(of_row(2, "http"), http(401e-6, 2499), slow)] == [False, False]


def test_what_only_a_slow_machine_lets_pass_says_so():
    slow = {**check.REFERENCE, "http": check.REFERENCE["http"] * 2, "rate": check.REFERENCE["rate"] / 2}
    said = [str(verdict) for verdict in check.judge(of_row(2, "http"), http(399e-6, 6000), slow)]
    assert said == ["kept, for a machine 2.00 times slower", "kept"]
    said = [str(verdict) for verdict in check.judge(of_row(2, "http"), http(401e-6, 2499), slow)]
    assert said == ["MISSED, even for a machine 2.00 times slower"] * 2


def test_a_machine_that_is_not_slow_excuses_nothing_and_a_fast_one_spoils_nothing():
    for factor in (1.0, 5.0):
        fast = {**check.REFERENCE, "http": check.REFERENCE["http"] / factor, "rate": check.REFERENCE["rate"] * factor}
        assert [str(verdict) for verdict in check.judge(of_row(2, "http"), http(199e-6, 5001), fast)] == ["kept"] * 2
        assert [str(verdict) for verdict in check.judge(of_row(2, "http"), http(201e-6, 4999), fast)] == ["MISSED"] * 2


def test_a_dispatch_of_more_than_was_promised_is_missed_though_pipes_here_are_quick():
    (p50, _) = of_row(1, "dispatch")
    found = a_result("dispatch", latency("dispatch.warm", [142_000] * 100))
    for pipe in (5e-6, 45.4e-6):
        (verdict,) = check.judge([p50], found, {**check.REFERENCE, "pipe": pipe})
        assert not verdict.kept


def test_ratios_and_bytes_are_not_scaled():
    slow = {name: floor * 2 for name, floor in check.REFERENCE.items()}
    slow["none"] = 1.0
    found = a_result(
        "overload",
        latency("overload.refused", [1000] * 100),
        latency("overload.beside.latency", [1600] * 100),
        latency("overload.quiet.latency", [1000] * 100),
    )
    refused, beside = check.judge(of_row(9, "overload"), found, slow)
    assert refused.kept
    assert beside.measured == pytest.approx(1.6)
    assert not beside.kept


def test_a_scrape_may_hold_calls_up_for_5_ms_and_no_longer():
    for seconds, kept in ((0.0049, True), (0.0051, False)):
        [verdict] = check.judge(
            of_row(10, "scrape"), a_result("scrape", scalar("scrape.stall", seconds)), check.REFERENCE
        )
        assert verdict.measured == seconds
        assert verdict.kept == kept


def test_every_promise_names_a_scenario_that_there_is():
    assert {promise.scenario for promise in check.PROMISES} <= set(scenarios.ALL)


def test_a_command_that_misses_a_promise_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "measure_floors", lambda seconds: check.REFERENCE)
    monkeypatch.setitem(scenarios.ALL, "http", lambda given: http(1e-3, 100_000))
    table = tmp_path / "table.md"
    ended = testing.CliRunner().invoke(command.main, ["check", "--row", "2", "--markdown", str(table)])
    assert ended.exit_code == 1
    assert ended.output.count("MISSED") == 1
    assert table.read_text().count("kept") == 1
    monkeypatch.setitem(scenarios.ALL, "http", lambda given: http(1e-5, 100_000))
    assert testing.CliRunner().invoke(command.main, ["check", "--row", "2", "--row", "3"]).exit_code == 0


def test_the_machine_is_looked_at_before_between_and_after_the_repetitions_of_a_scenario(monkeypatch):
    rates = iter((1.0, 0.5, 0.5, 0.4))
    monkeypatch.setattr(
        check, "measure_floors", lambda seconds: {**check.REFERENCE, "rate": check.REFERENCE["rate"] * next(rates)}
    )

    def scenario(given):
        assert list(given.turns()) == [0, 1, 2]
        return http(1e-5, 8_000)

    given = setting.Setting(repeat=3)
    [_], [verdict] = check.run(given, {"http": scenario}, frozenset({3}))
    assert verdict.slowness == pytest.approx(1 / 0.6)
    assert not list(rates)
    assert [*given.turns()] == [0, 1, 2]  # elsewhere nobody looks


def test_a_scenario_that_fails_takes_nothing_from_the_others(monkeypatch, tmp_path):
    def fails(given):
        raise OSError(28, "No space left on device")

    def unsuitable(given):
        raise setting.Unsuitable("it needs a trace")

    found = {
        "cold": unsuitable,
        "http": lambda given: http(1e-3, 100.0),
        "mix": fails,
        "soak": lambda given: a_result("soak"),
    }
    monkeypatch.setattr(scenarios, "ALL", found)
    ended = testing.CliRunner().invoke(command.main, ["all", "--json", str(tmp_path / "r")])
    assert ended.exit_code == 1
    assert "mix: failed: [Errno 28] No space left on device" in ended.output
    assert [each.scenario for each in result.load(tmp_path / "r")] == ["http", "soak"]
    del found["mix"]
    assert testing.CliRunner().invoke(command.main, ["all"]).exit_code == 0


def test_two_files_are_compared_by_command(tmp_path):
    for name, seconds in (("old", 1e-3), ("new", 2e-3)):
        result.save(tmp_path / name, [http(seconds, 100.0)])
    ended = testing.CliRunner().invoke(command.main, ["compare", str(tmp_path / "old"), str(tmp_path / "new")])
    assert ended.exit_code == 0
    assert "worse" in ended.output
    (tmp_path / "new").write_text("no")
    assert (
        "no result file"
        in testing.CliRunner().invoke(command.main, ["compare", str(tmp_path / "old"), str(tmp_path / "new")]).output
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http", "--function", "f"], "--target"),
        (["keepalive"], "--trace"),
        (["cold", "--target", "http://127.0.0.1:1"], "server of its own"),
        (["http", "--target", "ftp://x"], "not a URL"),
        (["peers", "--peer", "x"], "NAME=URL"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, said):
    ended = testing.CliRunner().invoke(command.main, arguments)
    assert ended.exit_code != 0
    assert said in ended.output


def test_on_paper_one_supervisor_is_the_limit_and_many_use_all_cores(tmp_path):
    cost = model.Costs(supervisor=50e-6, worker=50e-6)
    assert model.one_supervisor(cost, 2) == pytest.approx(20_000)
    assert model.one_supervisor(cost, 128) == pytest.approx(20_000)
    assert model.many_supervisors(cost, 32) == (16, pytest.approx(320_000))
    assert model.many_supervisors(cost, 2) == (1, pytest.approx(20_000))
    found = a_result("http", scalar("http.c8.cpu.supervisor", 4e-5, 6e-5), scalar("http.c8.cpu.workers", 5e-5))
    assert model.costs(found, "http.c8") == cost
    result.save(tmp_path / "r", [found])
    ended = testing.CliRunner().invoke(command.main, ["model", str(tmp_path / "r")])
    assert "320,000/s" in ended.output
    assert testing.CliRunner().invoke(command.main, ["model", str(tmp_path / "r"), "--load", "x"]).exit_code == 1


def test_a_result_knows_its_environment():
    found = machine.environment()
    assert found.cores >= 1
    assert found.busy == (found.load_average > machine.BUSY_ABOVE)
    assert msgspec.json.decode(msgspec.json.encode(found), type=machine.Environment) == found
