# SPDX-License-Identifier: MIT
"""moonsinterd: what a reload keeps of the plan, and what it tries at once."""
import datetime
import os
import subprocess

import pytest

import images
from conditions import whats
from evil_server import EvilServer
from keys import Key
from programs import wait_until
from releases import make_release

pytestmark = pytest.mark.sanitized


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


@pytest.fixture
def server(release):
    with EvilServer(release.parent) as evil:
        yield evil


def asked(server, name="image"):
    return server.stats()["paths"].get(f"/{name}.json", {"requests": 0})["requests"]


def reload(daemon, **sections):
    """With these settings; returns when they are taken."""
    count = daemon.log.count("new settings are in use")
    for section, keys in sections.items():
        daemon.settings.setdefault(section, {}).update(keys)
    daemon.write_config()
    daemon.reload()
    daemon.wait(lambda _: daemon.log.count("new settings are in use") > count, "they are taken")


def test_reloads_do_not_keep_it_from_looking(server, file_slots, make_daemon):
    """As tools do it that reload whatever they put in its place, far more often than Interval=."""
    daemon = make_daemon(server.url("image"), file_slots, mode="check", Update={"Interval": "2s"}).start()
    daemon.wait(lambda _: asked(server), "the first look")
    before, reloads = asked(server), 0
    while asked(server) < before + 3:
        reload(daemon)
        reloads += 1
    assert reloads >= 3


def test_what_the_server_asked_for_outlives_a_reload(server, file_slots, make_daemon):
    daemon = make_daemon(server.url("503/image?times=1000&retry=600"), file_slots, Update={"Interval": "1s"}).start()
    first = daemon.wait(lambda status: status["last_check"]["result"] == "failed", "it is told to wait")["last_check"]
    assert 590 <= seconds(first["next"]) - seconds(first["time"]) <= 601
    reload(daemon)
    reload(daemon, Update={"Interval": "2s", "Mode": "check"})
    assert daemon.status()["last_check"] == first
    assert asked(server, "503/image") == 1


def test_what_failures_made_longer_outlives_a_reload(server, file_slots, make_daemon):
    """After one failure that is ten seconds at most, and not Interval= from the reload on."""
    daemon = make_daemon(server.url("404/image"), file_slots).start()
    daemon.wait(lambda status: status["last_check"]["result"] == "failed", "it failed")
    reload(daemon)
    last = daemon.status()["last_check"]
    assert seconds(last["next"]) - seconds(last["time"]) < 600


def test_a_new_interval_only_makes_it_earlier(server, file_slots, make_daemon):
    daemon = make_daemon(server.url("image"), file_slots, mode="check").start()
    first = daemon.wait(lambda status: status["state"] == "held", "the first look")["last_check"]
    reload(daemon, Update={"Interval": "2h"})
    assert daemon.status()["last_check"] == first
    reload(daemon, Update={"Interval": "1s"})
    wait_until(lambda: asked(server) >= 3, "it looks every second")


def make_key(folder):
    return Key(folder / "keys").public.read_text()


def make_certificate(path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=device", "-keyout", f"{path}.key", "-out", f"{path}.pem"], check=True, capture_output=True)


def write_secret(path, text):
    path.write_text(text)
    path.chmod(0o600)


CHANGES = ("url", "header", "header-file", "ca-file", "client-key", "proxy", "key")


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_asked_in_another_way_is_tried_at_once(server, folder, file_slots, make_daemon, change):
    """Whatever the server asked for when it was asked in the old way; and a reload after that changes nothing."""
    keys, header, certificate = folder / "keys.d", folder / "header", folder / "device"
    keys.mkdir()
    write_secret(header, "X-Token: old\n")
    make_certificate(certificate)
    daemon = make_daemon(server.url("503/image?times=1000&retry=600"), file_slots, Trust={"Keys": keys}, Transfer={
        "Header": f"@{header}", "CaFile": f"{certificate}.pem", "ClientCertificate": f"{certificate}.pem",
        "ClientKey": f"{certificate}.key", "Proxy": server.url().rstrip("/")}).start()
    daemon.wait(lambda status: status["last_check"]["result"] == "failed", "it is told to wait")
    if change == "url":
        reload(daemon, Update={"Url": server.url("image")})
    elif change == "header":
        reload(daemon, Transfer={"Header": "X-Token: new"})
    elif change == "header-file":
        write_secret(header, "X-Token: new\n")
        reload(daemon)
    elif change == "ca-file":
        with open(f"{certificate}.pem", "a", encoding="ascii") as file:
            file.write("\n")
        reload(daemon)
    elif change == "client-key":
        with open(f"{certificate}.key", "a", encoding="ascii") as file:
            file.write("\n")
        reload(daemon)
    elif change == "proxy":
        reload(daemon, Transfer={"Proxy": None})
    elif change == "key":
        (keys / "fleet.pub").write_text(make_key(folder))
        reload(daemon)
    wait_until(lambda: server.stats()["requests"] >= 2, "it is tried at once")
    daemon.wait(lambda status: status["state"] not in ("checking", "installing") and status["last_check"]["next"], "it is over")
    count = server.stats()["requests"]
    reload(daemon)
    reload(daemon)
    assert server.stats()["requests"] == count


def test_a_file_that_is_written_anew_with_the_same_bytes_is_no_change(server, folder, file_slots, make_daemon):
    header = folder / "header"
    write_secret(header, "X-Token: same\n")
    daemon = make_daemon(server.url("image"), file_slots, mode="check", Transfer={"Header": f"@{header}"}).start()
    first = daemon.wait(lambda status: status["state"] == "held", "the first look")["last_check"]
    header.unlink()
    write_secret(header, "X-Token: same\n")
    reload(daemon)
    assert daemon.status()["last_check"] == first


def test_nothing_is_said_of_an_address_that_was_not_asked(server, file_slots, make_daemon):
    daemon = make_daemon(server.url("image"), file_slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held" and whats(status) == ["mode"], "it is held")
    reload(daemon, Update={"Url": server.url("silent/image")})
    status = daemon.wait(lambda status: status["state"] == "checking", "the other one is asked")
    assert status["last_check"]["result"] is None and status["last_check"]["time"] is None
    assert whats(status) == [] and status["update"]["version"] is None


RULES = {
    "mode": ({"Update": {"Mode": "check"}}, {"Update": {"Mode": "install"}}),
    "compatible": ({"Update": {"Compatible": "other"}}, {"Update": {"Compatible": None}}),
    "max-bytes": ({"Transfer": {"MaxBytesPerUpdate": "100K"}}, {"Transfer": {"MaxBytesPerUpdate": "100M"}}),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_held_is_judged_at_once_by_new_rules(server, file_slots, make_daemon, rule):
    before, after = RULES[rule]
    daemon = make_daemon(server.url("image"), file_slots, **before).start()
    daemon.wait(lambda status: status["state"] == "held" and whats(status) == [rule], "it is held")
    reload(daemon)
    assert whats(daemon.status()) == [rule]
    reload(daemon, **after)
    assert rule not in whats(daemon.status())
    daemon.wait(lambda status: status["state"] == "reboot-pending", "and it is installed")


def test_a_stale_reason_does_not_wait_for_a_server_that_is_away(release, file_slots, make_daemon):
    with EvilServer(release.parent) as evil:
        daemon = make_daemon(evil.url("image"), file_slots, mode="check").start()
        daemon.wait(lambda status: status["state"] == "held" and whats(status) == ["mode"], "it is held")
    reload(daemon, Update={"Mode": "install"})
    daemon.wait(lambda status: status["last_check"]["result"] == "failed" and status["state"] == "idle" and
                not status["blocked_by"], "the reason is gone")
    # And the other way round, without a server to ask.
    reload(daemon, Update={"Mode": "check"})
    daemon.wait(lambda status: status["state"] == "held" and whats(status) == ["mode"], "the reason is back")
    assert os.path.getsize(file_slots[1]) == 0
