"""What a run's CPU time is divided into."""

import msgspec
import pytest

from bench import histogram, measure, procfs, records


def test_cpu_time_is_told_by_process_and_by_kernel():
    answers = histogram.Recorder()
    for _ in range(100):
        answers.record(1000)
    kept = records.Records(1.0)
    kept.begin(0)
    run = msgspec.structs.replace(kept.result(started_at=0.0, cpu_s=0.5), outcomes={"200": answers.finish()})
    taken = procfs.FamilyCpu(
        supervisor=procfs.Cpu(0.2, 0.1),
        zygote=procfs.Cpu(0.0, 0.0, 0.01),
        workers=procfs.Cpu(0.3, 0.2),
        helpers=procfs.Cpu(),
    )
    found = {each.name: each.values for each in measure.cpu("x", "x", measure.Runs([run], [taken]))}
    assert found == {
        "x.cpu.supervisor": [pytest.approx(3e-3)],
        "x.cpu.supervisor_in_kernel": [pytest.approx(1e-3)],
        "x.cpu.zygote": [pytest.approx(1e-4)],
        "x.cpu.workers": [pytest.approx(5e-3)],
        "x.cpu.workers_in_kernel": [pytest.approx(2e-3)],
        "x.cpu.helpers": [0.0],
        "x.cpu.kernel": [pytest.approx(3e-3)],
        "x.cpu.all": [pytest.approx(8.1e-3)],
        "x.cpu.generator": [pytest.approx(5e-3)],
    }


@pytest.mark.parametrize(("others_s", "said"), [(0.2, []), (1.0, ["it: others took 0.50 of a processor meanwhile"])])
def test_what_others_took_is_said_where_it_is_much(others_s, said):
    kept = records.Records(1.0)
    kept.begin(0)
    run = msgspec.structs.replace(kept.result(started_at=0.0, cpu_s=0.5), elapsed_s=2.0)
    nothing = procfs.Cpu()
    taken = procfs.FamilyCpu(nothing, nothing, nothing, nothing, others_s, 0.9 * others_s)
    notes = measure.problems("it", measure.Runs([run], [taken]))
    assert [note.partition(",")[0] for note in notes] == said
    assert all("the kernel's own threads 0.45 of it" in note for note in notes)
