"""Another program that looks into one of our databases, as the sqlite3 shell or a backup does."""

import asyncio
import subprocess
import sys

_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
connection.close()
"""


async def look_into(database):
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _PROGRAM, str(database)], check=True)
