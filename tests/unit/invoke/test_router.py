import dataclasses

import pytest

from runtime import model
from runtime.invoke import router
from runtime.registry.registry import Route

ONE = model.Version(
    function_name="f",
    version="1",
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    runtime="python3.11",
    handler="h.f",
    code_sha256="x",
    code_path="/x",
    log_group="/aws/lambda/f",
    generation="g",
)
TWO = dataclasses.replace(ONE, version="2")


def test_without_an_additional_version_all_calls_go_to_the_primary():
    assert router.choose(Route(version=ONE), 0.0) is ONE


@pytest.mark.parametrize(("sample", "version"), [(0.0, TWO), (0.29, TWO), (0.3, ONE), (0.99, ONE)])
def test_the_weight_is_the_share_of_the_additional_version(sample, version):
    assert router.choose(Route(version=ONE, additional=TWO, weight=0.3), sample) is version


@pytest.mark.parametrize(("weight", "version"), [(0.0, ONE), (1.0, TWO)])
def test_the_ends_of_the_scale(weight, version):
    samples = [0.0, 0.5, 0.999]
    route = Route(version=ONE, additional=TWO, weight=weight)
    assert {router.choose(route, sample).version for sample in samples} == {version.version}
