"""JSON at the edge of the handler, as AWS's runtime has it: simplejson with AWS's own rules.

Source: awslambdaric, lambda_runtime_marshaller.py. Decimal becomes a number, NaN is allowed in a response and
not in an event, namedtuples become objects, and since Python 3.12 text is not escaped to ASCII.
"""

import decimal
import math
import os
from typing import Any

import simplejson
from simplejson import raw_json

from runtime.worker import faults, long_texts

_UNESCAPED = frozenset(f"AWS_Lambda_python3.{minor}" for minor in range(12, 20))


class Encoder(simplejson.JSONEncoder):
    """simplejson's encoder, but a Decimal's NaN is ``NaN`` instead of ``-NaN`` or ``sNaN``."""

    def __init__(self, *, escaped: bool) -> None:
        super().__init__(use_decimal=False, ensure_ascii=escaped, allow_nan=True)

    def default(self, o: Any) -> Any:
        """Return what stands for an object that JSON does not know; raise TypeError where nothing does."""
        if isinstance(o, decimal.Decimal):
            if o.is_nan():
                return math.nan
            return raw_json.RawJSON(str(o))
        return super().default(o)


_ENCODERS = Encoder(escaped=False), Encoder(escaped=True)


def _encoder() -> Encoder:
    return _ENCODERS[os.environ.get("AWS_EXECUTION_ENV") not in _UNESCAPED]


def to_json(value: Any) -> str:
    """Return the JSON text of one of our own documents."""
    return _encoder().encode(value)


_decode = simplejson.JSONDecoder().decode


def unmarshal(payload: bytes | memoryview) -> Any:
    """Return the event in a payload; raise Fault Runtime.UnmarshalError where it is not JSON.

    A memoryview's memory is given up, so that a large payload is not held twice while its function runs.
    """
    try:
        if isinstance(payload, memoryview):
            text = str(payload, "utf-8")
            payload.release()
            return long_texts.decode(text)
        return _decode(payload)  # type: ignore[arg-type]  # simplejson takes bytes, its stubs do not know
    except Exception as error:
        raise faults.Fault(faults.UNMARSHAL, f"Unable to unmarshal input: {error}") from None


class Marshaller:
    """Turns results into payloads; made once, after the environment is set."""

    __slots__ = ("_encode",)

    def __init__(self) -> None:
        self._encode = _encoder().encode

    def marshal(self, result: Any) -> tuple[bytes | str, str]:
        """Return the payload and its content type; raise Fault Runtime.MarshalError where there is no JSON for it.

        JSON is returned as text: to encode it is not part of what AWS's runtime reports. Where that fails, for a
        lone surrogate, the process ends.
        """
        if isinstance(result, bytes):
            return result, "application/unknown"
        try:
            return self._encode(long_texts.encoded(result)), "application/json"
        except Exception as error:
            raise faults.Fault(faults.MARSHAL, f"Unable to marshal response: {error}") from None
