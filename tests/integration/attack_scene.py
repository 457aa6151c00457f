# SPDX-License-Identifier: MIT
"""The scene of the tests of attacks."""
import json
import shutil

import pytest

import images
from conditions import whats
from evil_server import EvilServer
from keys import Key
from releases import make_release

OLD = images.noise(400_000, "attacks: old")
NEW = OLD[:100_000] + images.noise(150_000, "attacks: new") + OLD[250_000:]
EVIL = b"evil" * 65536


class Scene:
    """A device that has the publisher's key and runs release 2; its publisher; and a server of somebody else's."""

    def __init__(self, folder, make_daemon):
        self.folder = folder
        self.key, self.stranger = Key(folder / "publisher"), Key(folder / "stranger", "stranger")
        self.root = folder / "www"
        self.trusted = folder / "keys.d"
        self.trusted.mkdir()
        shutil.copy(self.key.public, self.trusted / "publisher.pub")
        self.slots = folder / "slot-a", folder / "slot-b"
        self.slots[0].write_bytes(OLD)
        self.slots[1].write_bytes(b"")
        self.server = EvilServer(self.root)
        self.make_daemon = make_daemon
        self.daemon = None

    def release(self, content, version, serial, *options, key=None):
        """Publishes a release, signed by the publisher or another `key`. Returns the image's path."""
        return make_release(self.root, content, version=version, serial=serial,
                            options=("--compatible", "board-7", "--sign", (key or self.key).secret, *options))

    def start(self, url=None, **sections):
        """Starts server and daemon, and waits until the daemon knows that it runs the published release, 2."""
        self.release(OLD, "2", 2)
        self.server.start()
        trust = {"Keys": self.trusted}
        self.daemon = self.make_daemon(url or self.server.url("image"), self.slots, Trust=trust,
                                       **{"Update": {"Compatible": "board-7"}, **sections}).start()
        self.daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it knows what it runs")
        assert self.daemon.status()["slots"]["a"]["serial"] == 2

    def file(self, suffix):
        return self.root / f"image{suffix}"

    def manifest(self):
        return json.loads(self.file(".json").read_text())

    def sign_manifest(self, manifest):
        self.file(".json").write_text(json.dumps(manifest))
        self.key.sign(self.file(".json"))

    def assert_refused(self, kinds, *words, what=None, timeout=30):
        """Asks for the update, which must fail with an error of one of these kinds that contains all the words, and be held
        by the rule `what` if it is given. The old slot must boot next, also after a restart of the daemon. Returns the
        error's message."""
        before = self.daemon.status()["last_error"]
        assert before is None
        self.daemon.post("install")
        status = self.daemon.wait(lambda status: status["last_error"] and status["state"] in ("idle", "held"),
                                  "an error", timeout=timeout)
        error = status["last_error"]
        assert error["kind"] in kinds, error
        assert what is None or whats(status) == [what], status
        for word in words:
            assert word.lower() in error["message"].lower(), f"no {word} in: {error['message']}"
        self.assert_old_slot_boots(status)
        self.daemon.kill()
        self.daemon.start()
        self.assert_old_slot_boots(self.daemon.status())
        return error["message"]

    def assert_old_slot_boots(self, status):
        assert status["boot"]["next"] == "a" and not status["boot"]["trial"], status
        assert status["slots"]["a"]["role"] == "active" and status["slots"]["a"]["state"] == "good", status
        assert status["slots"]["b"]["state"] not in ("good", "trial"), status
        assert self.slots[0].read_bytes() == OLD, "the running slot was written"


@pytest.fixture
def scene(folder, make_daemon):
    made = Scene(folder, make_daemon)
    yield made
    if made.server.thread.is_alive():
        made.server.stop()
