# SPDX-License-Identifier: MIT
"""How long a server wants to be left alone, who goes by it, and what is told of a transfer while it waits."""
import re

import pytest

import images
from conditions import installed
from programs import assert_failed, moonsinter
from signed_site import CONTENT, publish, requests, seconds_of

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


# --- how long a server wants to be left alone ---------------------------------------------------------------------

@pytest.mark.parametrize("wish, least, most", [(600, 600, 600), (86400, 3600, 3600)])
def test_what_a_server_wishes_on_ranges_reaches_the_schedule(server, key, file_slots, make_daemon, wish, least, most):
    """And not only on the manifest: bounded as there. The answer ends the installation, for it is not waited so long."""
    publish(server, key)
    server.behave("image", "503")
    daemon = make_daemon(server.url(f"image?retry={wish}"), file_slots, Update={"Interval": "5min"}).start()
    status = daemon.wait(lambda status: status["last_error"], "it fails")
    assert status["last_error"]["kind"] == "remote" and "not to be asked again" in status["last_error"]["message"]
    status = daemon.wait(lambda status: status["last_check"]["next"], "it is scheduled")
    wait_s = seconds_of(status["last_check"]["next"]) - seconds_of(status["last_error"]["time"])
    assert least - 2 <= wait_s <= most + 2, status
    assert status["last_check"]["why"].endswith("as the server asked")
    assert status["last_check"]["result"] == "update"


def test_a_wish_on_the_table_is_no_reason_to_fetch_more(server, key, file_slots, make_daemon):
    """Fixed chunks would serve, and cost the server more."""
    publish(server, key)
    server.behave("image.chunks", "503")
    daemon = make_daemon(server.url("image?retry=600"), file_slots, Update={"Interval": "5min"}).start()
    status = daemon.wait(lambda status: status["last_error"] and status["last_check"]["next"], "it fails")
    assert seconds_of(status["last_check"]["next"]) - seconds_of(status["last_error"]["time"]) >= 598, status
    assert status["last_check"]["why"].endswith("as the server asked")
    assert requests(server, "image.chunks") == 1 and requests(server, "image") == 0


def test_a_wish_that_was_granted_is_none_any_more(server, key, file_slots, make_daemon):
    publish(server, key)
    server.behave("image", "503", times=1)
    daemon = make_daemon(server.url("image"), file_slots, Update={"Interval": "5min"}).start()
    daemon.wait(installed("1"), "installed")
    assert daemon.status()["last_error"] is None


def test_clone_ends_where_the_server_wishes_more_than_it_waits(server, folder, key):
    publish(server, key)
    server.behave("image", "503")
    result = moonsinter("clone", server.url("image?retry=600"), folder / "out", "--retry-for", "300s", "--json")
    assert_failed(result, "503", "10min")
    assert requests(server, "image") <= 4


def test_a_failed_installation_is_no_failed_check(server, key, file_slots, make_daemon):
    """Also where the server has another image than its manifest says, so that looking again is what helps."""
    image = publish(server, key)
    image.write_bytes(images.noise(len(CONTENT), "another"))
    daemon = make_daemon(server.url("image"), file_slots).start()
    status = daemon.wait(lambda status: status["last_error"] and status["last_check"]["next"], "it fails")
    assert status["last_check"]["result"] == "update" and status["last_update"]["result"] == "failed"
    assert "failed installation" in status["last_check"]["why"], status


FAULTS = {"busy": ("503", "remote", "503"), "no answer": ("reset-now", "network", "broke off")}


# --- why it waits, while it waits ---------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["image", "image.chunks"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_transfer_that_waits_says_why(server, key, file_slots, make_daemon, fault, name):
    behaviour, kind, words = FAULTS[fault]
    publish(server, key)
    server.behave(name, behaviour)
    # That it stalls is told whatever a single request is given, and longer waits are not needed for it.
    daemon = make_daemon(server.url("image?retry=20"), file_slots, Transfer={"StallTimeout": "1h"}).start()
    status = daemon.wait(lambda status: status["update"]["waiting"], "it waits")
    assert status["state"] == "installing" and status["last_error"] is None
    waiting = status["update"]["waiting"]
    assert waiting["kind"] == kind and words in waiting["why"]
    assert waiting["since"] <= waiting["until"]
    for verb in ("status", "why"):
        told = moonsinter(verb, "--socket", daemon.socket, "--json")
        assert waiting["kind"] in told.stdout
    status = daemon.wait(lambda status: status.get("stalled"), "it stalls")
    assert words in status["stalled"], "it blames the medium"
    assert re.search(rf"nothing was read, written or received for .*{words}", daemon.log), daemon.log
    assert "\nmoonsinter_update_waiting 1\n" in daemon.request("GET", "/metrics")[1]
    server.behave(name, None)
    status = daemon.wait(installed("1"), "installed")
    assert status["update"]["waiting"] is None and status["last_error"] is None
