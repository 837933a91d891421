"""From the name of a handler to the function: AWS's rules, AWS's errors.

Source: awslambdaric, bootstrap.py (_get_handler). The names of modules may be written with dots or slashes.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from runtime.worker import faults


def find(name: str) -> Callable[[Any, Any], Any]:
    """Import ``module.function`` and return the function.

    Raises Fault for what AWS has an error of its own for; anything else that the module raises passes through.
    """
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise faults.Fault(faults.MALFORMED_HANDLER, f"Bad handler '{name}': {error}") from None
    try:
        if module_name.split(".")[0] in sys.builtin_module_names:
            raise faults.Fault(
                faults.BUILT_IN_CONFLICT, f"Cannot use built-in module {module_name} as a handler module"
            )
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise faults.Fault(faults.IMPORT_MODULE, f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        raise faults.Fault(
            faults.SYNTAX,
            f"Syntax error in module '{module_name}': {error}",
            [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'],
        ) from None
    try:
        # Interned as in its module: what is looked up is noted by the name's address, on a page that few have to copy.
        function: Callable[[Any, Any], Any] = getattr(module, sys.intern(function_name))
    except AttributeError:
        raise faults.Fault(
            faults.HANDLER_NOT_FOUND, f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None
    return function
