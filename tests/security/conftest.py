"""Workers to attack from: one zygote a module and mode, for speed; every test takes workers of its own."""

import pytest_asyncio
import sandbox_rig


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=sandbox_rig.STRONG)
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param) as one:
        yield one
