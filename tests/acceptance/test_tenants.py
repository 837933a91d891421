"""Tenant isolation: calls name a tenant, and no worker serves two."""

import concurrent.futures
import json

import botocore.exceptions
import pytest
from conftest import create

SOURCE = """
import os
SEEN = []
def handler(event, context):
    SEEN.append(context.tenant_id)
    found = os.listdir("/tmp")
    open(f"/tmp/{context.tenant_id.replace('/', '-')}", "w").close()
    return {"seen": SEEN, "tmp": found, "start": open("/proc/self/stat").read().split()[21]}
"""
TENANTS = ["blue", "green", "A-z/0.9_:=+@ x"]


@pytest.fixture(scope="module", autouse=True)
def functions(client):
    create(client, "tenanted", SOURCE, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    create(client, "untenanted", "def handler(event, context):\n    return context.tenant_id\n")


def call(client, tenant, **options):
    answer = client.invoke(FunctionName="tenanted", TenantId=tenant, **options)
    result = json.load(answer["Payload"])
    assert "FunctionError" not in answer, result
    return result


def test_a_worker_serves_one_tenant(client):
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        calls = [(tenant, threads.submit(call, client, tenant)) for _ in range(10) for tenant in TENANTS]
        results = [(tenant, future.result()) for tenant, future in calls]
    for tenant, result in results:
        assert set(result["seen"]) == {tenant}
        assert set(result["tmp"]) <= {tenant.replace("/", "-")}
    assert any(len(result["seen"]) > 1 for _, result in results), "no worker was used twice"


def test_a_published_version_is_isolated_too(client):
    number = client.publish_version(FunctionName="tenanted")["Version"]
    for tenant in TENANTS * 2:
        assert set(call(client, tenant, Qualifier=number)["seen"]) == {tenant}


def refused(client, name, **options):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke(FunctionName=name, **options)
    error = caught.value.response["Error"]
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_call_without_a_tenant_is_refused(client, kind):
    assert refused(client, "tenanted", InvocationType=kind) == (
        400,
        "InvalidParameterValueException",
        "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again.",
    )


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_tenant_of_a_function_without_isolation_is_refused(client, kind):
    status, code, message = refused(client, "untenanted", TenantId="blue", InvocationType=kind)
    assert (status, code) == (400, "InvalidParameterValueException")
    assert "not enabled with tenancy configuration" in message
    assert json.load(client.invoke(FunctionName="untenanted")["Payload"]) is None


@pytest.mark.parametrize(
    ("tenant", "constraint"),
    [
        ("a\u00e9", r"Member must satisfy regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"),
        ("a" * 257, "Member must have length less than or equal to 256"),
    ],
)
def test_what_cannot_be_a_tenant(client, tenant, constraint):
    status, code, message = refused(client, "tenanted", TenantId=tenant)
    assert (status, code) == (400, "ValidationException")
    assert message.endswith(f"at 'tenantId' failed to satisfy constraint: {constraint}")
