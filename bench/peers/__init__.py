"""Other ways to run a Python function, measured beside ours in the same run, each with its best settings."""

from bench.peers import lambdas, pools, servers
from bench.peers.peer import Peer

MINISTACK = lambdas.MINISTACK
SERVERS: tuple[Peer, ...] = (
    MINISTACK,
    lambdas.SERVERLESS_OFFLINE,
    servers.FUNCTIONS_FRAMEWORK,
    servers.GRANIAN,
    servers.GUNICORN,
)
EXECUTOR = pools.EXECUTOR
POOLS = pools.ALL
