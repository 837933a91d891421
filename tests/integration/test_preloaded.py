"""The SDK, imported ahead: no function can tell, but by the time that its import takes."""

import contextlib
import shutil

import pytest
import pytest_asyncio
import sandbox_rig

from runtime import wire
from runtime.pool import sdk

TOOLS = """
import logging, re, sys, warnings
OURS = ("boto3", "botocore", "s3transfer", "urllib3", "jmespath", "dateutil", "six", "awscrt")
def used():
    return [stage.is_back for one in sys.meta_path if type(one).__name__ == "Preloaded" for stage in one._stages]
def seen():
    manager = logging.root.manager.loggerDict
    return {
        "modules": sorted(name for name in sys.modules if name.partition(".")[0] in OURS),
        "files": [module.__file__ for name, module in sorted(sys.modules.items()) if name in OURS],
        "specs": [re.sub("0x[0-9a-f]+", "", str(module.__spec__)) for name, module in sorted(sys.modules.items()) if name in OURS],
        "packages": [module.__package__ for name, module in sorted(sys.modules.items()) if name in OURS],
        "loggers": {
            name: [str(logger), logger.disabled, [str(one) for one in logger.handlers], str(logger.parent)]
            for name, logger in sorted(manager.items())
            if isinstance(logger, logging.Logger) and name.partition(".")[0] in OURS
        },
        "filters": sorted(str(one) for one in warnings.filters),
        "finders": sorted(str(type(one)) for one in sys.meta_path if type(one).__name__ != "Preloaded"),
        "main": sys.modules.get("__mp_main__", sys.modules["__main__"]) is sys.modules["__main__"],
    }
"""


@pytest_asyncio.fixture(scope="module", params=[*sandbox_rig.STRONG, "bare"], loop_scope="module")
async def rigs(request):
    """A plain zygote and one with the SDK, of one mode."""
    packages = sdk.folder(sandbox_rig.public())
    sandbox_rig.open_to_all(packages)
    settings = {"sdk": str(packages)}
    async with (
        sandbox_rig.rig(sandbox_rig.public(), request.param, **settings) as plain,
        sandbox_rig.rig(sandbox_rig.public(), request.param, **settings, preload=sdk.PRELOADED) as warm,
    ):
        yield plain, warm


pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.contextmanager
def bringing(rig, files):
    """Have the function's folder hold these files as well."""
    was = rig.code
    rig.code = sandbox_rig.public() / "code"
    shutil.copytree(was, rig.code)
    for name, text in {"tools.py": TOOLS, **files}.items():
        (rig.code / name).parent.mkdir(parents=True, exist_ok=True)
        (rig.code / name).write_text(text)
    sandbox_rig.open_to_all(rig.code)
    yield
    rig.code = was


async def ran(rig, source, files=None, environment=None, **order):
    """Return what a new worker makes of a source, and which parts of the preloaded it used."""
    with bringing(rig, files or {}):
        worker = await rig.worker(environment, **order)
    try:
        result = await worker.run(source)
        return result, await worker.run("import tools; result = tools.used()")
    finally:
        rig.spawner.kill(worker.slot)
        await worker.ended()
        rig.workers.remove(worker)
        worker.close()


async def both(rigs, source, files=None, environment=None, **order):
    """Return what both zygotes' workers say, which must be the same, and what the second used of the preloaded."""
    plain, warm = rigs
    expected, _ = await ran(plain, source, files, environment, **order)
    result, used = await ran(warm, source, files, environment, **order)
    assert result == expected
    return result, used


def layered(rig, files):
    """Return a folder of layers with these files, as changes of an order."""
    folder = sandbox_rig.public()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    sandbox_rig.open_to_all(folder)
    return {"layers": str(folder)}


async def test_nothing_of_it_is_seen_before_it_is_imported(rigs):
    result, used = await both(rigs, "import tools; result = tools.seen()")
    assert result["modules"] == result["files"] == []
    assert not any(used)
    assert len(used) == len(sdk.PRELOADED)


@pytest.mark.parametrize(
    "source",
    [
        "import boto3",
        "from botocore.exceptions import ClientError; import boto3",
        "import botocore; import boto3",
        "import urllib3; from dateutil import tz; import boto3",
        "from six.moves.urllib.parse import urlparse; import boto3; boto3.client('s3', region_name='us-east-1')",
        "import logging; logging.getLogger('botocore').setLevel(50); import boto3",
        "import logging.config; logging.config.dictConfig({'version': 1}); import boto3",
        "import warnings; warnings.simplefilter('error', UserWarning); import boto3",
    ],
)
async def test_an_import_brings_all_of_it_back(rigs, source):
    result, used = await both(rigs, f"{source}\nimport tools; result = tools.seen()")
    assert "boto3.session" in result["modules"]
    assert "urllib3.connectionpool" in result["loggers"]
    assert all(used)


@pytest.mark.parametrize("name", ["urllib3", "six", "dateutil", "jmespath", "botocore.config", "s3transfer.manager"])
async def test_a_part_of_it_can_be_imported_alone(rigs, name):
    _, used = await both(rigs, f"import {name} as one; result = [one.__name__, one.__file__, str(one.__spec__.origin)]")
    assert any(used)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"botocore/__init__.py": "own = 1"}, "botocore"),
        ({"urllib3.py": "own = 1"}, "urllib3"),
        ({"six.py": "own = 1", "nothing.txt": ""}, "six"),
        ({"queue.py": "own = 1"}, "queue"),
        (
            {"awscrt/__init__.py": "__version__ = '9.9.9'", "awscrt/auth.py": "", "awscrt/crypto.py": "EC = 1"},
            "botocore.compat",
        ),
        ({"certifi.py": "where = lambda: '/own'"}, "botocore.httpsession"),
    ],
)
async def test_what_a_function_brings_goes_first(rigs, files, name):
    source = f"""
    import importlib, tools
    try:
        import boto3
    except Exception as error:
        failed = type(error).__name__
    else:
        failed = ""
    one = importlib.import_module({name!r})
    crt = tools.sys.modules["botocore.compat"].HAS_CRT if "botocore.compat" in tools.sys.modules else None
    result = [failed, one.__file__.rpartition("/code/")[2], getattr(one, "own", 0), getattr(one, "where", str)() if "http" in {name!r} else "", crt]
    """
    _, used = await both(rigs, source, files)
    assert not any(used)


async def test_a_layer_goes_first(rigs):
    if rigs[0].mode == "bare":
        pytest.skip("in this mode layers lie where they are on the host, and not in /opt")
    site_packages = f"python/lib/{await version(rigs)}/site-packages"
    for folder in ("python", site_packages):
        layers = layered(rigs[0], {f"{folder}/jmespath/__init__.py": "own = 1"})
        source = "import jmespath; result = [jmespath.own, jmespath.__file__]"
        result, used = await both(rigs, source, **layers)
        assert result == [1, f"/opt/{folder}/jmespath/__init__.py"]
        assert not any(used)


async def version(rigs):
    result, _ = await both(rigs, "import sys; result = 'python%d.%d' % sys.version_info[:2]")
    return result


async def test_what_a_variable_leads_to_goes_first(rigs):
    rig = rigs[0]
    task = "/var/task" if rig.mode != "bare" else "."
    files = {"more/urllib3/__init__.py": "own = 1"}
    source = "import urllib3; result = urllib3.own"
    assert await both(rigs, source, files, {"PYTHONPATH": f"{task}/more"}) == (1, [])


async def test_what_sys_path_leads_to_goes_first(rigs):
    files = {"vendor/urllib3/__init__.py": "own = 1"}
    source = "import sys; sys.path.insert(0, 'vendor'); import urllib3; result = urllib3.own"
    result, used = await both(rigs, source, files)
    assert result == 1
    assert not any(used)


@pytest.mark.parametrize("name", ["urllib3", "dateutil", "boto3"])
async def test_a_folder_that_is_no_package_gives_way(rigs, name):
    result, used = await both(rigs, "import boto3; result = boto3.__file__", {f"{name}/data.txt": "x"})
    assert result.endswith("/boto3/__init__.py")
    assert all(used)


async def test_what_was_replaced_in_the_standard_library_is_used(rigs):
    source = """
    import ssl
    class Mine(ssl.SSLContext):
        pass
    ssl.SSLContext = Mine
    import boto3, urllib3.util.ssl_
    result = urllib3.util.ssl_.SSLContext is Mine
    """
    result, used = await both(rigs, source)
    assert result is True
    assert not any(used)


async def test_a_stub_of_a_tests_own_stays(rigs):
    source = """
    import sys, types
    sys.modules["urllib3"] = types.ModuleType("urllib3")
    try:
        import botocore.session
    except Exception as error:
        result = [type(error).__name__, str(error)[:40]]
    """
    result, used = await both(rigs, source)
    assert result[0] in {"ImportError", "ModuleNotFoundError"}
    assert not any(used)


async def test_imported_again_it_is_executed_again(rigs):
    source = """
    import sys, boto3
    first = sys.modules.pop("boto3")
    import boto3
    result = [first is boto3, boto3.__file__ == first.__file__]
    """
    assert (await both(rigs, source))[0] == [False, True]


async def test_the_home_folder_is_the_functions(rigs):
    source = "import botocore.credentials as one; result = one.JSONFileCache.CACHE_DIR"
    _, used = await both(rigs, source)
    assert any(used)
    result, used = await both(rigs, source, environment={"HOME": "/tmp/home"})
    assert result == "/tmp/home/.aws/boto/cache"
    assert not any(used)


async def test_nothing_secret_or_random_is_common(rigs):
    source = """
    import boto3, multiprocessing, random, secrets, ssl, tempfile, uuid
    result = [random.random(), secrets.token_hex(4), ssl.RAND_bytes(4).hex(), str(uuid.uuid4()), str(uuid.uuid1()),
              next(tempfile._get_candidate_names()), multiprocessing.current_process().authkey.hex()]
    """
    drawn = [(await ran(rigs[1], source))[0] for _ in range(3)]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == len(drawn), values


async def test_what_one_function_does_with_it_another_does_not_see(rigs):
    source = """
    import boto3, botocore.session, logging
    result = [boto3.DEFAULT_SESSION, logging.getLogger("botocore").level, hasattr(botocore, "marked")]
    boto3.setup_default_session(aws_access_key_id="A", aws_secret_access_key="B", region_name="us-east-1")
    boto3.set_stream_logger("botocore")
    botocore.marked = True
    """
    for _ in range(2):
        result, used = await ran(rigs[1], source)
        assert result == [None, 0, False]
        assert all(used)


async def test_a_folder_that_cannot_be_imported_from_says_so():
    async def start():
        async with sandbox_rig.rig(sandbox_rig.public(), "bare", sdk="/nowhere", preload=("boto3",)):
            pass

    with pytest.raises(Exception, match=r"failed at preload.*No module named 'boto3'"):
        await start()


async def test_the_names_of_conflicts_fit_into_a_packet():
    assert len(wire.encode(wire.ZygoteReady({}, " ".join(["a" * 12] * 300)))) < wire.PACKET_LIMIT
