"""Workers to attack from: one zygote a module and mode, for speed; every test takes workers of its own.

Each attack is made twice: by a worker that mounted its folders itself, and by one that was sealed before.
"""

import pytest
import pytest_asyncio
import sandbox_rig


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sealed ahead"])
def ahead(request):
    return request.param


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=sandbox_rig.STRONG)
async def rig(request, ahead):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param, ahead=ahead) as one:
        yield one
