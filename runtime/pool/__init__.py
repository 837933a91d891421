"""The pool: workers, their states, their pipes, and the zygotes that fork them."""
