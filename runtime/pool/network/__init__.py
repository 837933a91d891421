"""Networks of workers: none (a namespace of their own), egress (the Internet only) and host."""
