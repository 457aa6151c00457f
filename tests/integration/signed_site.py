# SPDX-License-Identifier: MIT
"""A small signed release on a server that misbehaves on request (evil_server.py)."""
import datetime

import images
from releases import make_release

CONTENT = images.noise(1_500_000, "patience")


def publish(server, key, *options):
    return make_release(server.root, CONTENT, version="1", serial=1, options=("--sign", key.secret, *options))


def requests(server, name):
    return server.stats()["paths"].get(f"/{name}", {"requests": 0})["requests"]


def seconds_of(time):
    return datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
