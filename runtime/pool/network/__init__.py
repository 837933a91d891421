"""Networks of workers: none (a namespace of their own), egress (the Internet and nothing nearer) and host.

``modes.open_network`` is the door. What egress lets pass is told in ``reach`` (addresses) and ``rules`` (nftables); it
is enforced by a router of our own (``pasta``, ``router``), or, as root where there is no pasta, by rules on the uids of
functions in the host's network (``nftables``).
"""
