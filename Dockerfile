# hotfork in a container.
#
#   docker build -t hotfork .
#
# In a container the server listens on all addresses, so it wants to know who may call: it starts with a file of
# credentials (docs/authentication.md), which belongs to the user that it runs as, in the volume that keeps its state:
#
#   docker run --rm -i -v hotfork:/var/lib/hotfork hotfork sh -c 'umask 077; cat > credentials.toml' < credentials.toml
#   docker run --rm -p 127.0.0.1:3001:3001 -v hotfork:/var/lib/hotfork \
#     -e HOTFORK_AUTH_CREDENTIALS=/var/lib/hotfork/credentials.toml hotfork
#
# On a machine of your own, from level 2 on, -e HOTFORK_AUTH_INSECURE=true does without: whoever reaches the port can
# run code in the container, so publish it to 127.0.0.1 alone, and mind other containers on the same network.
#
# How much the workers can be confined depends on what the container itself is allowed to do. Each level below adds
# options to the command above; `docker run ... hotfork hotfork doctor` shows what is engaged, what is missing, and why.
#
# Level 1, Docker's defaults: Landlock, seccomp, resource limits. Functions share the container's network.
#
# Level 2, namespaces: Docker's seccomp and AppArmor profiles forbid user namespaces, and its masks over /proc forbid
# to mount a new one. Functions have no network, unless --device /dev/net/tun is added: then they reach the Internet.
#   --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined
#
# Level 3, and a limit of memory and processes per worker: root in the container, and a writable cgroup tree
# (writable-cgroups is in Docker Engine 28 and later, with cgroup v2; before that, --privileged). A /tmp on disk needs
# loop devices, which --privileged gives; without them /tmp is memory. Beside the options of level 2:
#   --user 0 --cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun --security-opt writable-cgroups=true
# and behind the image's name
#   hotfork serve --isolation strong
#
# Give invocations time to end with --stop-timeout 40.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY configs/functions configs/functions
COPY runtime runtime
RUN python -m venv /opt/hotfork \
    && /opt/hotfork/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.12-slim
# The way to the Internet and the rules that keep functions off private networks (passt, nftables); for level 3, /tmp on
# disk (e2fsprogs).
RUN apt-get update \
    && apt-get install -y --no-install-recommends nftables passt e2fsprogs \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/hotfork /opt/hotfork
RUN useradd --uid 10001 --user-group --home-dir /var/lib/hotfork --create-home --shell /usr/sbin/nologin hotfork
ENV PATH=/opt/hotfork/bin:$PATH \
    HOTFORK_HOST=0.0.0.0 \
    HOTFORK_STATE_DIR=/var/lib/hotfork
USER hotfork
WORKDIR /var/lib/hotfork
VOLUME /var/lib/hotfork
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3001/healthz', timeout=2)"]
CMD ["hotfork", "serve", "--isolation", "auto"]
