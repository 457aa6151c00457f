# SPDX-License-Identifier: MIT
"""moonsinterd and sets: all images in one plan, armed by one write, with each rule holding for every part."""
import os
import time

import pytest

import images
import programs
from conditions import armed, blocks, booted, whats
from loops import system
from set_site import BOOT_SIZE, ROOT_SIZE, sha256, site


pytestmark = pytest.mark.sanitized

DISK = 4 << 20


class Device:
    """A machine with two slots of two partitions each: the root, and a boot partition."""

    def __init__(self, loops, make_daemon):
        self.loops, self.make_daemon = loops, make_daemon
        self.root = [loops.attach(DISK, f"root-{slot}") for slot in "ab"]
        self.boot = [loops.attach(DISK, f"boot-{slot}") for slot in "ab"]

    def part(self, **keys):
        return {"Part boot": {"A": self.boot[0], "B": self.boot[1], **keys}}

    def daemon(self, url, mode="install", part=None, **sections):
        return self.make_daemon(url, self.root, mode=mode, **(self.part() if part is None else part), **sections)

    def content(self, device):
        """What stands on the medium."""
        return self.loops.backing(device).read_bytes()

    def holds(self, number, root, boot):
        return self.content(self.root[number]).startswith(root) and self.content(self.boot[number]).startswith(boot)


@pytest.fixture
def device(loops, make_daemon):
    return Device(loops, make_daemon)


class Publisher:
    """Publishes one set after the other at the same URL."""

    def __init__(self, site):
        self.site, self.number = site, 0

    def publish(self, root, boot, options=()):
        """Returns URL, and the contents of both images."""
        self.number += 1
        made = images.noise(ROOT_SIZE, root), images.noise(BOOT_SIZE, boot)
        part = self.site.image(f"boot-{boot}.vfat".replace(" ", "-"), made[1])
        self.site.image("root.img", made[0])
        url = self.site.set("root.img", f"boot={part}",
                            options=("--version", str(self.number), "--serial", str(self.number), *options))
        # nginx makes an ETag of size and second, and two manifests have the same size.
        seconds = time.time() + self.number
        os.utime(self.site.www / "root.img.json", (seconds, seconds))
        return url, *made


@pytest.fixture
def publisher(site):
    return Publisher(site)


def plan_of(daemon):
    programs.wait_until(lambda: daemon.request("GET", "/v1/plan")[0] == 200, "there is a plan")
    return daemon.request("GET", "/v1/plan")[1]


@pytest.mark.fast
def test_a_set_is_installed_booted_and_followed_by_another(nginx, publisher, device):
    """The second release changes the boot partition alone: an update all the same, of which the root costs nothing."""
    url, root, boot = publisher.publish("root", "boot 1")
    daemon = device.daemon(url, mode="reboot").start()
    status = daemon.wait(booted("1", "b"), "release 1 boots from slot B")
    assert device.holds(1, root, boot)
    assert status["slots"]["b"]["parts"]["boot"]["sha256"] == sha256(boot)
    assert status["slots"]["b"]["sha256"] == sha256(root)
    _, shown = programs.on_terminal("status", "--socket", daemon.socket)
    assert f"boot       image {sha256(boot)[:12]}, {device.boot[1]}" in shown and f"boot       unknown contents, {device.boot[0]}" in shown
    assert device.content(device.root[0]) == device.content(device.boot[0]) == bytes(DISK), "what ran is never written"
    nginx.wait_for_silence()
    nginx.forget()

    url, root, boot = publisher.publish("root", "boot 2")
    daemon.post("check")
    status = daemon.wait(booted("2", "a"), "release 2 boots from slot A")
    assert device.holds(0, root, boot)
    assert status["slots"]["a"]["parts"]["boot"]["sha256"] == sha256(boot)
    nginx.wait_for_silence()
    assert nginx.sent("/root.img") == 0, "the root is copied from the slot that runs"
    assert nginx.sent("/boot-boot-2.vfat") >= BOOT_SIZE
    assert status["last_update"]["result"] == "installed"

    daemon.post("check")
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "nothing is to be done")


def test_the_plan_is_of_all_images_and_exact(nginx, publisher, device):
    url, *_ = publisher.publish("root", "boot 1")
    daemon = device.daemon(url, mode="check").start()
    daemon.wait(lambda status: "mode" in whats(status), "the release is held")
    daemon.post("check")
    plan = plan_of(daemon)
    assert plan["bytes_to_download"] >= ROOT_SIZE + BOOT_SIZE
    nginx.wait_for_silence()
    assert nginx.sent("/root.img") == nginx.sent("/boot-boot-1.vfat") == 0
    before = nginx.sent("/root.img.chunks") + nginx.sent("/boot-boot-1.vfat.chunks")
    daemon.post("install")
    status = daemon.wait(armed("1", "b"), "the set is installed")
    nginx.wait_for_silence()
    paths = ("/root.img", "/boot-boot-1.vfat")
    assert sum(nginx.sent(path) for path in paths) + before == plan["bytes_to_download"]
    assert status["last_update"]["bytes_downloaded"] == sum(nginx.sent(path) for path in paths)


def test_a_set_for_a_device_without_that_part_is_held(publisher, device):
    url, *_ = publisher.publish("root", "boot 1")
    daemon = device.daemon(url, part={}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the set is held")
    assert "part-unknown" in whats(status) and "boot" in blocks(status)["part-unknown"]
    daemon.post("check")
    daemon.wait(lambda status: status["state"] == "held", "it is still held")
    assert device.content(device.root[1]) == bytes(DISK)


def test_a_release_that_lacks_a_part_is_held(site, publisher, device):
    site.image("root.img", images.noise(ROOT_SIZE, "root"))
    daemon = device.daemon(site.url("root.img")).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the release is held")
    assert "part-missing" in whats(status) and "boot" in blocks(status)["part-missing"]
    assert device.content(device.root[1]) == bytes(DISK)


def test_a_part_larger_than_its_partition_is_found_before_the_first_write(nginx, publisher, device, loops):
    url, *_ = publisher.publish("root", "boot 1")
    small = loops.attach(BOOT_SIZE // 4096 * 4096 // 2, "small")
    daemon = device.daemon(url, part=device.part(B=small)).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the set is held")
    assert "slot-too-small" in whats(status) and "boot" in blocks(status)["slot-too-small"]
    assert device.content(device.root[1]) == bytes(DISK)
    assert nginx.sent("/root.img") == 0


def test_a_part_that_somebody_holds(publisher, device):
    url, root, boot = publisher.publish("root", "boot 1")
    holder = os.open(device.boot[1], os.O_RDWR | os.O_EXCL)
    try:
        daemon = device.daemon(url).start()
        status = daemon.wait(lambda status: "target" in whats(status), "it is in use")
        assert device.boot[1] in status["last_error"]["message"]
        assert device.content(device.root[1]) == bytes(DISK), "nothing is written before all places are held"
    finally:
        os.close(holder)
    daemon.post("check")
    daemon.wait(armed("1", "b"), "the set is installed when its place is free")
    assert device.holds(1, root, boot)


def test_killed_between_two_images(publisher, device, nginx):
    """What is right in any part is kept, and nothing is armed before all is whole."""
    url, root, boot = publisher.publish("root", "boot 1")
    daemon = device.daemon(url, Transfer={"RateLimit": "800K"}).start()
    daemon.wait(lambda status: device.content(device.boot[1]).startswith(boot), "the part is whole", interval=0.1)
    daemon.kill()
    assert not device.holds(1, root, boot)
    nginx.wait_for_silence()
    nginx.forget()
    daemon.settings["Transfer"]["RateLimit"] = None
    daemon.write_config()
    daemon.start()
    status = daemon.wait(lambda status: status["boot"]["next"] == "b", "the set is armed")
    assert status["slots"]["b"]["parts"]["boot"]["sha256"] == sha256(boot)
    assert device.holds(1, root, boot)
    nginx.wait_for_silence()
    assert nginx.sent("/boot-boot-1.vfat") == 0, "the part is kept"


def test_a_part_for_each_slot(site, device):
    root = images.noise(ROOT_SIZE, "root")
    mine = [images.noise(BOOT_SIZE, f"boot {slot}") for slot in "ab"]
    parts = [site.image(f"boot-{slot}.efi", content) for slot, content in zip("ab", mine)]
    site.image("root.img", root)
    url = site.set("root.img", f"boot@a={parts[0]}", f"boot@b={parts[1]}", options=("--version", "1"))
    daemon = device.daemon(url, mode="reboot").start()
    status = daemon.wait(booted("1", "b"), "release 1 boots from slot B")
    assert device.holds(1, root, mine[1])
    assert status["slots"]["b"]["parts"]["boot"]["sha256"] == sha256(mine[1])
    # The same set in slot A has another boot image.
    daemon.stop()
    with open(device.boot[0], "wb") as place:
        place.write(mine[0])
    daemon.start()
    daemon.post("check")
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "slot B holds the set")


def test_parts_that_are_files_on_a_mounted_partition(publisher, device, folder):
    url, root, boot = publisher.publish("root", "boot 1")
    files = [folder / f"vmlinuz-{slot}" for slot in "ab"]
    files[0].write_bytes(b"runs")
    daemon = device.daemon(url, mode="reboot", part={"Part boot": {"A": files[0], "B": files[1]}}).start()
    daemon.wait(booted("1", "b"), "release 1 boots from slot B")
    assert files[1].read_bytes() == boot and files[0].read_bytes() == b"runs"
    assert device.content(device.root[1]).startswith(root)
    url, root, boot = publisher.publish("root 2", "boot 2")
    daemon.post("check")
    daemon.wait(booted("2", "a"), "release 2 boots from slot A")
    assert files[0].read_bytes() == boot


def test_a_running_part_on_which_root_lies_is_never_written(publisher, device):
    """Settings with one place twice are refused at the start."""
    url, *_ = publisher.publish("root", "boot 1")
    for places in ({"A": device.boot[0], "B": device.boot[0]}, {"A": device.root[0], "B": device.boot[1]},
                   {"A": device.boot[0], "B": device.root[0]}):
        daemon = device.daemon(url, part={"Part boot": places})
        done = system(programs.MOONSINTERD, "--config", daemon.config)
        assert done.returncode != 0 and "boot" in done.stderr, done
    assert all(device.content(path) == bytes(DISK) for path in device.root + device.boot)


def publish_plain(site, content, number):
    """A release without parts, at the URL of the sets before it."""
    site.image("root.img", content)
    done = programs.moonsinter("generate", site.www / "root.img", "--version", number, "--serial", number)
    assert done.status == 0, done
    seconds = time.time() + number
    os.utime(site.www / "root.img.json", (seconds, seconds))


@pytest.mark.fast
def test_a_part_is_carried_over(site, publisher, device):
    """Only what is recorded, and unchanged since, and only where the settings say so."""
    url, _, boot = publisher.publish("root 1", "boot 1")
    daemon = device.daemon(url, mode="reboot", part=device.part(Missing="carry")).start()
    daemon.wait(booted("1", "b"), "release 1 boots from slot B")
    root = images.noise(ROOT_SIZE, "root 2")
    publish_plain(site, root, 2)
    daemon.post("check")
    status = daemon.wait(booted("2", "a"), "release 2 boots from slot A")
    assert device.holds(0, root, boot)
    assert status["slots"]["a"]["parts"]["boot"]["sha256"] == sha256(boot)
    daemon.post("check")
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "nothing is to be done")
    # Somebody writes to the part that runs: it is not what was accepted, so it goes nowhere.
    with open(device.boot[0], "r+b") as place:
        place.seek(BOOT_SIZE // 2)
        place.write(b"changed")
    before = device.content(device.root[1])
    publish_plain(site, images.noise(ROOT_SIZE, "root 3"), 3)
    daemon.post("check")
    status = daemon.wait(lambda status: "target" in whats(status), "release 3 is held")
    assert "boot" in blocks(status)["target"] and device.boot[0] in blocks(status)["target"]
    assert device.content(device.root[1]) == before and status["boot"]["next"] == "a"


def test_a_part_of_which_nothing_is_recorded_is_not_carried_over(site, device):
    site.image("root.img", images.noise(ROOT_SIZE, "root"))
    daemon = device.daemon(site.url("root.img"), part=device.part(Missing="carry")).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the release is held")
    assert "part-missing" in whats(status)
    assert device.content(device.root[1]) == bytes(DISK)
