"""From a resolved name to an outcome: routing, admission, the invoker and the asynchronous queue."""
