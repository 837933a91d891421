"""Imports half a second's worth of packages, and then does next to nothing."""

import time

import boto3
import numpy as np
import pandas as pd

frame = pd.DataFrame({"value": np.arange(8)})
versions = [boto3.__version__, np.__version__, pd.__version__]


def handler(event, context):
    """Sleep event["seconds"], if any, and return a sum."""
    time.sleep(event.get("seconds", 0))
    return {"sum": int(frame["value"].sum())}
