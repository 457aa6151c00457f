# SPDX-License-Identifier: MIT
"""Sets from servers that lie, on devices whose places are not what they were: whatever comes, the running slot is not
written, nothing is armed that is not whole, and what comes right is installed afterwards."""
import fcntl
import json
import os
import pathlib
import random
import shutil
import subprocess

import pytest

import images
from conditions import armed, blocks, booted, whats
from programs import moonsinter
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
    daemon.request("POST", "/v1/check")
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
    daemon.request("POST", "/v1/check")
    status = daemon.wait(failed, "it is told")
    assert status["last_error"]["kind"] == "refused" and whats(status) == ["mode"]
    assert sorted(status["update"]["parts"]) == ["boot", "other"], "what was offered before is"
    scene.manifest = good
    daemon.post("install")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made) and (scene.folder / "esp" / "other-b").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("behaviour, kind", [
    ("endless", "mismatch"), ("lying-length", "mismatch"), ("endless-header", "refused"), ("page", "remote"), ("304", "remote"), ("404", "remote"),
    ("redirect-loop", "remote"), ("redirect-file", "remote"), ("garbage", "remote"), ("padding", "remote"), ("short", "network"),
    ("reset", "network")])
def test_a_part_whose_manifest_cannot_be_had(scene, behaviour, kind):
    """Whatever comes in its place is told as what it is."""
    made = scene.publish()
    scene.server.behave("boot.vfat.json", behaviour)
    daemon = scene.daemon().start()
    status = daemon.wait(failed, "it is told")
    assert status["last_error"]["kind"] == kind and "boot.vfat.json" in status["last_error"]["message"]
    assert ("longer" in status["last_error"]["message"]) == (kind == "mismatch")
    scene.assert_untouched(status)
    scene.server.behave("boot.vfat.json", None)
    daemon.request("POST", "/v1/check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)


@pytest.mark.parametrize("which", ["boot.vfat", "root.img"])
def test_an_image_that_is_another(scene, which):
    """What was right of the others is kept."""
    made = scene.publish()
    good = (scene.site.www / which).read_bytes()
    (scene.site.www / which).write_bytes(good[:-5] + b"wrong")
    daemon = scene.daemon(Update={"Interval": "1d"}).start()
    status = daemon.wait(failed, "it is told")
    assert status["last_error"]["kind"] == "mismatch" and status["boot"]["next"] == "a"
    assert which.split(".", maxsplit=1)[0] in status["last_error"]["message"]
    (scene.site.www / which).write_bytes(good)
    if which == "root.img":
        scene.server.behave("boot.vfat", "404")
    daemon.request("POST", "/v1/check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
    scene.assert_runs_on()


# ---- places ----


def link(scene, place):
    (place.parent / "other").write_bytes(b"other")
    place.symlink_to("other")


def dangling(scene, place):
    place.symlink_to("nothing")


def hard_link(scene, place):
    (place.parent / "other").write_bytes(b"other")
    os.link(place.parent / "other", place)


def link_to_what_runs(scene, place):
    place.symlink_to(scene.places[0])


def hard_link_to_what_runs(scene, place):
    os.link(scene.places[0], place)


def pipe(scene, place):
    os.mkfifo(place)


def no_folder(scene, place):
    place.parent.rename(scene.folder / "away")


PLACES = {"a link": link, "a link to nothing": dangling, "a hard link": hard_link, "a link to what runs": link_to_what_runs,
          "a hard link to what runs": hard_link_to_what_runs, "a pipe": pipe, "no folder": no_folder}


@pytest.mark.parametrize("what", PLACES)
def test_a_place_that_became_something_else(scene, what):
    """While moonsinterd runs: nothing is written to any place, and the set is installed when it is what it was."""
    made = scene.publish()
    daemon = scene.daemon(mode="check").start()
    daemon.wait(lambda status: whats(status) == ["mode"], "the set is held")
    PLACES[what](scene, scene.places[1])
    daemon.post("install")
    status = daemon.wait(lambda status: status["last_error"] or "boot-selection" in whats(status), "it is told")
    daemon.wait(lambda status: status["state"] in ("held", "idle"), "it ends")
    assert str(scene.places[1]) in json.dumps([status["last_error"], blocks(status)]) or what.startswith("a link")
    assert scene.slots[1].read_bytes() == b""
    if what == "no folder":
        (scene.folder / "away").rename(scene.places[1].parent)
    else:
        assert not scene.places[1].is_file() or scene.places[1].read_bytes() in (b"other", b"runs, too")
        scene.places[1].unlink()
    scene.assert_runs_on()
    daemon.post("install")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
    scene.assert_runs_on()


@pytest.mark.parametrize("what", ["read-only", "full"])
def test_a_partition_of_parts_that_takes_nothing(scene, mount, what):
    made = scene.publish()
    esp = mount("tmpfs", "-t", "tmpfs", "-o", "size=64k" if what == "full" else "size=4m")
    if what == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", esp], check=True)
    daemon = scene.daemon(part={"B": esp / "boot"}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "it is told")
    assert whats(status) == ["target" if what == "read-only" else "slot-too-small"] and str(esp) in json.dumps(blocks(status))
    assert scene.slots[1].read_bytes() == b""
    subprocess.run(["mount", "-o", "remount,rw,size=4m", esp], check=True)
    daemon.request("POST", "/v1/check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.slots[1].read_bytes() == made[0] and (esp / "boot").read_bytes() == made[1]
    assert daemon.stop() == 0


# ---- what is carried over ----


@pytest.fixture
def carrying(scene):
    """Slot B runs a set of three parts that are carried over, and the next release brings none: the daemon (not started), what the
    parts hold, and the new root."""
    names = "boot", "more", "most"
    parts = {name: scene.site.image(f"{name}.img", images.noise(9_000_000, name)) for name in names[1:]}
    more = {f"Part {name}": {"A": scene.folder / "esp" / f"{name}-a", "B": scene.folder / "esp" / f"{name}-b", "Missing": "carry"}
            for name in names[1:]}
    made = scene.publish(*[f"{name}={path}" for name, path in parts.items()])
    daemon = scene.daemon(mode="reboot", part={"Missing": "carry"}, **more).start()
    daemon.wait(booted("1", "b"), "the set runs")
    assert daemon.stop() == 0
    root = images.noise(ROOT_SIZE, "root 2")
    scene.site.image("root.img", root)
    assert moonsinter("generate", scene.site.www / "root.img", "--version", "2", "--serial", "2").status == 0
    daemon.settings["Update"]["Mode"] = "install"
    daemon.write_config()
    return daemon, {"boot": made[1], **{name: path.read_bytes() for name, path in parts.items()}}, root


def assert_carried(scene, parts, root):
    assert scene.slots[0].read_bytes() == root
    for name, content in parts.items():
        assert (scene.folder / "esp" / f"{name}-a").read_bytes() == content


@pytest.mark.parametrize("how", ["stop", "kill", "cancel"])
def test_ended_at_any_moment(scene, carrying, how):
    """Armed is only what is whole, in all parts, and what runs stays what it was."""
    daemon, parts, root = carrying
    moments = random.Random(how)
    daemon.start()
    for _ in range(8):
        daemon.wait(lambda status: status["state"] != "idle", "it is under way")
        daemon.wait(lambda status, end=moments.random(): status["state"] == "reboot-pending" or moments.random() < end / 20, "a moment")
        if daemon.status()["state"] == "reboot-pending":
            break
        if how == "cancel":
            daemon.request("POST", "/v1/cancel")
            daemon.wait(lambda status: status["state"] in ("held", "reboot-pending"), "it ends")
            daemon.request("POST", "/v1/install")
        else:
            daemon.stop() if how == "stop" else daemon.kill()  # pylint: disable=expression-not-assigned
            daemon.start()
        if daemon.status()["slots"]["a"]["role"] == "active":
            break
    daemon.wait(lambda status: status["boot"]["next"] == "a", "the release is armed, or runs")
    assert_carried(scene, parts, root)
    for name, content in parts.items():
        assert (scene.folder / "esp" / f"{name}-b").read_bytes() == content


def test_a_place_that_is_held(scene, carrying):
    """Found out before anything is written, also where a part is carried over."""
    daemon, parts, root = carrying
    place = scene.folder / "esp" / "most-a"
    before = scene.slots[0].read_bytes(), scene.places[0].read_bytes()
    with open(place, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        daemon.start()
        status = daemon.wait(lambda status: "target" in whats(status), "it is told")
        assert str(place) in blocks(status)["target"] and status["boot"]["next"] == "b"
        assert (scene.slots[0].read_bytes(), scene.places[0].read_bytes()) == before
        assert "/root.img" not in scene.server.stats()["paths"] or scene.server.stats()["paths"]["/root.img"]["bytes"] == ROOT_SIZE
    daemon.request("POST", "/v1/check")
    daemon.wait(lambda status: status["boot"]["next"] == "a", "the release is armed")
    assert_carried(scene, parts, root)


# ---- what is kept of it ----


def test_a_state_folder_that_takes_nothing(scene, mount):
    """What is kept of a part comes first, and without a record nothing is armed."""
    made = scene.publish()
    state = mount("tmpfs", "-t", "tmpfs", "-o", "size=4m")
    (state / "part-boot.json").mkdir()
    daemon = scene.daemon(Storage={"StateDirectory": state}).start()
    status = daemon.wait(failed, "it is told")
    assert status["boot"]["next"] == "a"
    (state / "part-boot.json").rmdir()
    daemon.request("POST", "/v1/check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
    assert daemon.stop() == 0
    scene.assert_runs_on()


def test_parts_with_the_names_of_files_that_are_kept(scene):
    names = "record", "manifest", "a", "b", "json", "boot-a", "part-", "-", "signatures-demanded"
    parts = {name: scene.site.image(f"{number}.img", images.noise(20_000, name)) for number, name in enumerate(names)}
    each = [scene.site.image(f"each.{slot}", images.noise(20_000, f"each {slot}")) for slot in "ab"]
    more = {f"Part {name}": {"A": scene.folder / "esp" / f"{name}.1", "B": scene.folder / "esp" / f"{name}.2"} for name in (*names, "each")}
    made = scene.publish(*[f"{name}={path}" for name, path in parts.items()], f"each@a={each[0]}", f"each@b={each[1]}")
    daemon = scene.daemon(**more).start()
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
    for name, path in (*parts.items(), ("each", each[1])):
        assert (scene.folder / "esp" / f"{name}.2").read_bytes() == path.read_bytes()
    kept = {path.name for path in (daemon.folder / "state").iterdir()}
    assert {f"part-{name}.json" for name in names} | {"part-each.a.json", "part-each.b.json", "record.json", "manifest.json"} <= kept


# ---- signed sets ----


@pytest.mark.parametrize("signed_too", [False, True])
def test_a_part_of_a_signed_set_is_exchanged(scene, key, folder, signed_too):
    """For one that the same key signed, but not as a part of this set."""
    (folder / "keys").mkdir()
    shutil.copy(key.public, folder / "keys")
    made = scene.publish(options=("--sign", key.secret))
    good = (scene.site.www / "boot.vfat.json").read_bytes()
    other = scene.site.image("other.vfat", images.noise(BOOT_SIZE, "another"))
    if signed_too:
        assert moonsinter("generate", other, "--sign", key.secret).status == 0
        shutil.copy(f"{other}.json.minisig", scene.site.www / "boot.vfat.json.minisig")
    shutil.copy(f"{other}.json", scene.site.www / "boot.vfat.json")
    daemon = scene.daemon(Trust={"Keys": folder / "keys"}).start()
    status = daemon.wait(failed, "it is told")
    assert status["last_error"]["kind"] == "mismatch"
    scene.assert_untouched(status)
    (scene.site.www / "boot.vfat.json").write_bytes(good)
    daemon.request("POST", "/v1/check")
    daemon.wait(armed("1", "b"), "the set is armed")
    assert scene.holds(*made)
