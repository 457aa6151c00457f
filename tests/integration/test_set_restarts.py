# SPDX-License-Identifier: MIT
"""moonsinterd is started anew after a set was offered."""
import pytest

from conditions import whats

from set_site import boot, root, site, url
pytestmark = pytest.mark.sanitized


def test_a_set_that_was_offered_before_a_restart(url, file_slots, folder, make_daemon):
    """Also where it has never been in a slot."""
    places = {"Part boot": {"A": folder / "boot-a", "B": folder / "boot-b"}}
    daemon = make_daemon(url, file_slots, mode="check", **places).start()
    first = daemon.wait(lambda status: status["state"] == "held", "the set is held")
    assert daemon.stop() == 0
    daemon.start()
    daemon.post("check")
    again = daemon.wait(lambda status: status["state"] == "held" and status["last_check"]["result"] != "never", "it is held again")
    assert whats(again) == whats(first)
