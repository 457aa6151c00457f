# SPDX-License-Identifier: MIT
"""Attacks by what lies on the device, or is plugged into it: its state, its keys, its disks. Nothing is written that should not
be, and what runs goes on booting."""
import hashlib
import json
import os
import shutil
import subprocess

import pytest

import programs
from attack_scene import NEW, OLD, scene  # noqa: F401 (fixtures)
from loops import seeing_links
from programs import MOONSINTERD


# --- what lies on the device ---

def test_the_manifest_kept_from_before(scene):
    """It goes through the same gate after a restart, whatever the record says of it and whatever the server says."""
    scene.start()
    scene.release(NEW, "3", 3, key=scene.stranger)
    assert scene.daemon.stop() == 0
    state = scene.daemon.folder / "state"
    evil = scene.file(".json").read_bytes()
    (state / "manifest.json").write_bytes(evil)
    shutil.copy(scene.file(".json.minisig"), state / "manifest.json.minisig")
    record = json.loads((state / "record.json").read_text())
    record["manifest"]["sha256"] = hashlib.sha256(evil).hexdigest()
    (state / "record.json").write_text(json.dumps(record))
    scene.daemon.start()
    status = scene.daemon.wait(lambda status: status["last_error"], "it is refused")
    assert status["last_error"]["kind"] == "refused" and "not trusted" in status["last_error"]["message"]
    assert "kept from before cannot be used" in scene.daemon.log
    scene.assert_old_slot_boots(scene.daemon.status())


@pytest.mark.parametrize("lost", ["damaged", "missing"])
def test_a_record_that_is_lost_and_a_start_that_fails(scene, lost):
    """The release that runs brings no key, and the start after the loss ends before it saved anything."""
    scene.start()
    assert scene.daemon.stop() == 0
    (scene.trusted / "publisher.pub").unlink()
    state = scene.daemon.folder / "state"
    if lost == "damaged":
        (state / "record.json").write_bytes(b"\0" + (state / "record.json").read_bytes()[1:])
    else:
        (state / "record.json").unlink()
    selection = next(path for path in state.iterdir() if "boot" in path.name)
    good = selection.read_bytes()
    selection.write_bytes(b"unreadable")
    scene.daemon.start(wait=False)
    assert scene.daemon.process.wait(60) != 0
    selection.write_bytes(good)
    scene.release(NEW, "1", 1)
    scene.file(".json.minisig").unlink()
    scene.daemon.start()
    status = scene.daemon.wait(lambda status: status["last_error"] and status["last_error"]["kind"] == "refused", "it is refused")
    assert status["trust"]["signature_required"] and "no key is trusted here" in status["last_error"]["message"]
    assert scene.daemon.log.count("record.json") >= 2, "the loss is said at each start"
    scene.assert_old_slot_boots(status)


@pytest.mark.parametrize("what", ["folder", "file", "owner"])
def test_keys_that_others_may_write(scene, what):
    """Whoever may write them may be whoever signed. The daemon holds and says it, and does not end."""
    scene.start()
    key = scene.trusted / "publisher.pub"
    if what == "owner":
        if os.getuid() != 0:
            pytest.skip("giving a file away needs root")
        os.chown(key, 1234, -1)
    else:
        (scene.trusted if what == "folder" else key).chmod(0o777)
    scene.release(NEW, "3", 3)
    for restart in (False, True):
        if restart:
            assert scene.daemon.stop() == 0
            scene.daemon.start()
        else:
            scene.daemon.reload()
        status = scene.daemon.wait(lambda status: status["state"] == "held", "it holds")
        assert [block["what"] for block in status["blocked_by"]] == ["unsafe-keys"]
        assert status["trust"]["signature_required"] and str(key.parent) in status["trust"]["why"]
        scene.assert_old_slot_boots(status)
        scene.daemon.post("install")
        status = scene.daemon.wait(lambda status: status["state"] == "held", "it holds, whoever asks")
        scene.assert_old_slot_boots(status)
    config = ["--config", str(scene.daemon.config)]
    assert subprocess.run([MOONSINTERD, *config, "--check-config"], check=False, capture_output=True).returncode == 1
    doctor = subprocess.run([MOONSINTERD, *config, "--doctor"], check=False, capture_output=True, text=True)
    findings = [json.loads(line) for line in doctor.stdout.splitlines()]
    assert doctor.returncode == 1
    assert [finding["result"] for finding in findings if finding.get("check") == "keys"] == ["failure"]
    # Mended, it goes on.
    if what == "owner":
        os.chown(key, os.getuid(), -1)
    else:
        (scene.trusted if what == "folder" else key).chmod(0o755 if what == "folder" else 0o644)
    scene.daemon.reload()
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "it is installed")


# --- what is plugged into the device ---

class NamedSlot:
    """Slot B is a partition of a disk, by its name; udev's link is the test's."""

    def __init__(self, scene, disk, links):
        self.scene, self.disk, self.links = scene, disk, links
        (links / "by-partlabel").mkdir(parents=True)
        self.link(disk)
        scene.release(OLD, "2", 2)
        scene.server.start()
        scene.daemon = scene.make_daemon(scene.server.url("image"), (scene.slots[0], f"PARTLABEL={disk.name('b')}"),
                                         Trust={"Keys": scene.trusted}, Update={"Compatible": "board-7"})
        scene.daemon.start(prefix=seeing_links(links))
        scene.daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it knows what it runs")

    def link(self, disk):
        path = self.links / "by-partlabel" / disk.name("b")
        path.unlink(missing_ok=True)
        path.symlink_to(disk.part("b"))


def held(status):
    return [block["why"] for block in status["blocked_by"] if block["what"] == "slot-name"]


def test_a_stick_that_bears_the_name_of_a_slot(scene, folder, disks):
    """Plugged in after the start, so that the name leads to it: nothing is written, and the next look after it is gone
    goes on."""
    slot = NamedSlot(scene, disks("internal", 1 << 20), folder / "links")
    stick = disks("stick", 1 << 20)
    before = stick.digest("b"), slot.disk.digest("b")
    scene.release(NEW, "3", 3)
    for last in (stick, slot.disk):
        slot.link(last)
        scene.daemon.post("install")
        status = scene.daemon.wait(lambda status: held(status) and status["state"] == "held", "it is held")
        assert stick.part("b") in held(status)[0] and slot.disk.part("b") in held(status)[0]
        assert (stick.digest("b"), slot.disk.digest("b")) == before
    stick.pull_out()
    scene.daemon.post("install")
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "it is installed")


def test_a_label_that_an_image_brings_along(folder):
    """LABEL= and UUID= are what whoever makes images says; the partition's own names are not. (The `file` backend takes
    them; the machine of test_slot_names has another one.)"""
    config = folder / "label.conf"
    config.write_text("[Update]\nUrl=http://127.0.0.1/image\n[Slots]\nA=LABEL=root-a\nB=UUID=1234\n"
                      "[Boot]\nBackend=grub\nGrubenvFile=/dev/null\n")
    done = subprocess.run([programs.MOONSINTERD, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "slot-name" in done.stderr


def test_a_slot_that_is_the_running_one_by_another_name(scene, folder, loops):
    """Two loop devices over one file."""
    first, second = (loops.attach(1 << 20, "shared") for _ in range(2))
    scene.release(OLD, "2", 2)
    scene.server.start()
    scene.daemon = scene.make_daemon(scene.server.url("image"), (first, second), Trust={"Keys": scene.trusted}).start(wait=False)
    assert scene.daemon.process.wait(60 * programs.PATIENCE) == 1
    scene.daemon.process = None
    assert "the same storage" in scene.daemon.log and loops.backing(first).read_bytes() == bytes(1 << 20)
