# SPDX-License-Identifier: MIT
"""Sets from servers that lie, on devices whose places are not what they were: whatever comes, the running slot is not
written, nothing is armed that is not whole, and what comes right is installed afterwards."""
import json
import pathlib

import pytest

import images
from conditions import armed, whats
from set_site import BOOT_SIZE, ROOT_SIZE, Site

pytestmark = pytest.mark.sanitized


class Scene:
    """A device whose slots and places are files, and the publisher of its sets, on a server that misbehaves on request."""

    def __init__(self, server, folder, make_daemon, file_slots):
        self.server, self.folder, self.make_daemon, self.slots = server, folder, make_daemon, file_slots
        self.site = Site(pathlib.Path(server.root), server.url)
        self.places = folder / "esp" / "boot-a", folder / "esp" / "boot-b"
        self.places[0].parent.mkdir()
        file_slots[0].write_bytes(b"runs")
        self.places[0].write_bytes(b"runs, too")
        self.number = 0

    def publish(self, *extra, root="root", boot="boot", options=()):
        """The next set; `extra` are further parts as options of generate. Returns its contents."""
        self.number += 1
        made = images.noise(ROOT_SIZE, root), images.noise(BOOT_SIZE, boot)
        path = self.site.image(f"{boot}.vfat", made[1])
        self.site.image("root.img", made[0])
        self.site.set("root.img", f"boot={path}", *extra,
                      options=("--version", str(self.number), "--serial", str(self.number), *options))
        return made

    @property
    def manifest(self):
        return json.loads((self.site.www / "root.img.json").read_bytes())

    @manifest.setter
    def manifest(self, text):
        (self.site.www / "root.img.json").write_text(json.dumps(text))

    def daemon(self, mode="install", part=(), **sections):
        parts = {"Part boot": {"A": self.places[0], "B": self.places[1], **dict(part)}}
        return self.make_daemon(self.server.url("root.img"), self.slots, mode=mode, **{**parts, **sections})

    def assert_untouched(self, status):
        assert status["boot"]["next"] == "a", status
        assert self.slots[1].read_bytes() == b"" and not self.places[1].exists()
        self.assert_runs_on()

    def assert_runs_on(self):
        assert self.slots[0].read_bytes() == b"runs" and self.places[0].read_bytes() == b"runs, too"

    def holds(self, root, boot):
        return self.slots[1].read_bytes() == root and self.places[1].read_bytes() == boot


@pytest.fixture
def scene(server, folder, make_daemon, file_slots):
    return Scene(server, folder, make_daemon, file_slots)


def failed(status):
    return status["last_error"] and status["state"] in ("idle", "held")


# ---- manifests ----


def part_of(text, number=0):
    return text["moonsinter"]["parts"][number]


def twice(text):
    text["moonsinter"]["parts"].append(part_of(text))


def seventeen(text):
    text["moonsinter"]["parts"] = [{**part_of(text), "name": f"p{number}"} for number in range(17)]


def itself(text):
    part_of(text)["manifest"]["url"] = "root.img.json"


def lie(name, value):
    def change(text):
        part_of(text)["manifest"][name] = value
    return change


def renamed(name):
    def change(text):
        part_of(text)["name"] = name
    return change


def old_format(text):
    text["moonsinter"]["format"] = 1
    del text["moonsinter"]["needs"]


def two_kinds(text):
    part_of(text)["a"] = part_of(text)["b"] = part_of(text)["manifest"]


def number_of_parts(value):
    def change(text):
        text["moonsinter"]["parts"] = value
    return change


TAMPERED = {
    "listed twice": twice, "seventeen": seventeen, "leads to the set itself": itself, "the main image's name": renamed("root"),
    "a name with a slash": renamed("../boot"), "a name that is none": renamed(""), "a name that is a number": renamed(7),
    "shorter": lie("size", 1), "longer": lie("size", 12 << 20), "too long": lie("size", 1 << 40), "another": lie("sha256", "0" * 64),
    "no address": lie("url", ""), "an address elsewhere": lie("url", "ftp://host/boot.json"), "a file": lie("url", "file:///etc/passwd.json"),
    "nowhere": lie("url", "http:far.json"), "the folder": lie("url", "..json"), "both kinds": two_kinds, "no list": number_of_parts({}),
    "an empty list": number_of_parts([]), "a list of nothing": number_of_parts([None] * 3), "an old format": old_format,
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_manifest_that_lies(scene, what):
    """It is told, costs no byte of an image, and the set that comes after it is installed."""
    made = scene.publish()
    good = scene.manifest
    text = scene.manifest
    TAMPERED[what](text)
    scene.manifest = text
    daemon = scene.daemon().start()
    status = daemon.wait(failed, "it is told")
    scene.assert_untouched(status)
    assert not {"/root.img", "/boot.vfat"} & set(scene.server.stats()["paths"])
    scene.manifest = good
    daemon.post("check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
    scene.assert_runs_on()


def test_a_set_that_is_refused_takes_nothing_of_the_one_before(scene):
    """It has a part of that one, and another part that leads nowhere."""
    other = scene.site.image("other.img", images.noise(20_000, "other"))
    more = {"Part other": {"A": scene.folder / "esp" / "other-a", "B": scene.folder / "esp" / "other-b"}}
    made = scene.publish(f"other={other}")
    daemon = scene.daemon(mode="check", **more).start()
    daemon.wait(lambda status: whats(status) == ["mode"], "the set is held")
    good = scene.manifest
    text = scene.manifest
    text["moonsinter"]["parts"][1]["manifest"]["url"] = "http:far.json"
    scene.manifest = text
    daemon.post("check")
    status = daemon.wait(failed, "it is told")
    assert status["last_error"]["kind"] == "refused" and whats(status) == ["mode"]
    assert sorted(status["update"]["parts"]) == ["boot", "other"], "what was offered before is"
    scene.manifest = good
    daemon.post("install")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made) and (scene.folder / "esp" / "other-b").read_bytes() == other.read_bytes()
