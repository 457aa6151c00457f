# SPDX-License-Identifier: MIT
"""A table of attacks on a device that has the publisher's key, by whoever is between the two: who signed what, and which release
is offered when. Whatever the server does, the old slot goes on booting and the error names the reason."""
import pytest

import programs
from attack_scene import NEW, OLD, scene  # noqa: F401 (fixtures)


def test_without_an_attack_it_is_installed(scene):
    """Else the tests below would prove nothing."""
    scene.start()
    scene.release(NEW, "3", 3)
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "it is installed")
    assert status["boot"]["next"] == "b" and status["update"]["signed_by"] == scene.key.id
    assert scene.slots[1].read_bytes() == NEW


# --- who signed what ---

def test_unsigned(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.file(".json.minisig").unlink()
    scene.assert_refused(["refused"], "image.json", "not signed")


def test_signed_by_a_stranger(scene):
    scene.start()
    scene.release(NEW, "3", 3, key=scene.stranger)
    scene.assert_refused(["refused"], "image.json", scene.stranger.id, "not trusted")


def test_signed_in_the_legacy_form(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.key.sign(scene.file(".json"), "-l")
    scene.assert_refused(["refused"], "legacy")


def test_signature_of_another_file(scene):
    scene.start()
    signature = scene.file(".json.minisig").read_bytes()
    scene.release(NEW, "3", 3)
    scene.file(".json.minisig").write_bytes(signature)
    scene.assert_refused(["mismatch"], "image.json", "not one of these bytes")


def test_one_bit_of_the_manifest(scene):
    """A thousand of them, one after the other, are in tests/unit/test_release.c."""
    scene.start()
    scene.release(NEW, "3", 3)
    data = bytearray(scene.file(".json").read_bytes())
    data[data.index(b'"serial":3') + 9] ^= 8
    scene.file(".json").write_bytes(data)
    scene.assert_refused(["mismatch"], "not one of these bytes")


def test_the_trusted_comment(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    text = scene.file(".json.minisig").read_text()
    scene.file(".json.minisig").write_text(text.replace("file:image.json", "file:other.json"))
    scene.assert_refused(["mismatch"], "comment")


def test_the_ancestors_manifest(scene):
    """The old form, without a signature and with one."""
    scene.start()
    scene.release(NEW, "3", 3)
    manifest = scene.manifest()
    del manifest["moonsinter"]
    scene.sign_manifest(manifest)
    scene.assert_refused(["refused"], "SHA-256")


# --- which release, and when ---

def test_old_release_replayed(scene):
    scene.start()
    scene.release(NEW, "1", 1)
    scene.assert_refused(["refused"], "serial 1", "AllowDowngrade", what="downgrade")


def test_old_release_replayed_after_a_good_one_was_published_anew(scene):
    """3 turned out to be harmful, and the publisher took it back by the image that runs, under a higher serial."""
    scene.start()
    scene.release(OLD, "4", 4)
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["slots"]["a"]["serial"] == 4, "it is known by its new name")
    assert status["slots"]["a"]["version"] == "4" and status["last_check"]["result"] == "up-to-date"
    scene.release(NEW, "3", 3)
    scene.assert_refused(["refused"], "serial 3", "4", what="downgrade")


def arm(scene):
    """Release 7 is installed and waits for its boot."""
    scene.release(NEW, "7", 7)
    scene.daemon.post("check")
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "it is armed")


def test_armed_and_taken_back(scene):
    """As above, where 7 waits for its boot."""
    scene.start()
    arm(scene)
    scene.release(OLD, "8", 8)
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["state"] == "idle", "it is taken back")
    assert status["last_check"]["result"] == "up-to-date" and status["slots"]["b"]["state"] == "invalid"
    assert status["last_update"]["result"] == "cancelled" and status["last_update"]["to"] == "7"
    assert "offers release 8" in status["last_update"]["reason"]
    scene.release(NEW, "7", 7)
    scene.assert_refused(["refused"], "serial 7", "8", what="downgrade")


def test_armed_and_taken_back_by_one_that_waits(scene):
    """What took its place is not for this device yet."""
    scene.start()
    arm(scene)
    scene.release(OLD + NEW, "8", 8, "--rollout-hold")
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["state"] == "held", "it is taken back")
    assert [block["what"] for block in status["blocked_by"]] == ["rollout"]
    assert status["last_update"]["result"] == "cancelled"
    scene.assert_old_slot_boots(status)


def results(scene):
    return [entry["result"] for entry in scene.daemon.request("GET", "/v1/history")[1]["history"]]


def put_in_the_way(path):
    """Whether a folder stands there now, so that no file can be made; what is just being saved is there for a moment."""
    try:
        path.mkdir()
        return True
    except FileExistsError:
        return False


def fails_once(scene, what, action, **sections):
    """Release 7 waits for its boot; what takes it back cannot be written."""
    scene.start(Boot={"SelectionFile": scene.folder / "selection.json"}, **sections)
    arm(scene)
    in_the_way = {"selection": scene.folder / "selection.json.new",
                  "record": scene.daemon.folder / "state" / "record.json.new"}[what]
    programs.wait_until(lambda: put_in_the_way(in_the_way), "nothing is being saved there")
    if action == "check":
        scene.release(OLD, "8", 8)
    scene.daemon.post(action)
    status = scene.daemon.wait(lambda status: status["last_error"] and "next-slot-invalid" in
                               [block["what"] for block in status["blocked_by"]], "it fails, and says where the next boot leads")
    assert status["state"] == "reboot-pending" and status["boot"]["next"] == "b", status
    assert results(scene)[0] == "installed"
    in_the_way.rmdir()


@pytest.mark.parametrize("what", ["selection", "record"])
def test_armed_and_taken_back_at_the_second_try(scene, what):
    """A full disk, say: each look tries again, and a release that was called back does not boot."""
    fails_once(scene, what, "check")
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["state"] == "idle" and status["boot"]["next"] == "a", "it is taken back")
    assert results(scene)[:2] == ["cancelled", "installed"] and status["last_update"]["to"] == "7"
    assert status["slots"]["b"]["state"] == "invalid" and status["blocked_by"] == []
    scene.assert_old_slot_boots(status)


@pytest.mark.parametrize("action", ["cancel", "check"])
def test_a_cancel_that_fails_once(scene, action):
    """By an operator: what he said counts, whoever carries it out in the end."""
    fails_once(scene, "selection", "cancel")
    scene.daemon.post(action)
    status = scene.daemon.wait(lambda status: status["state"] == "held" and status["boot"]["next"] == "a", "it is taken back")
    assert [block["what"] for block in status["blocked_by"]] == ["cancelled"]
    assert results(scene)[:2] == ["cancelled", "installed"] and status["last_update"]["to"] == "7"
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["state"] == "held", "it is not installed again")
    assert [block["what"] for block in status["blocked_by"]] == ["cancelled"]


def test_a_newer_release_whose_slot_cannot_be_deselected(scene):
    """The one that waits is given up, and boots next all the same: that is not slept over."""
    scene.start(Boot={"SelectionFile": scene.folder / "selection.json"})
    arm(scene)
    in_the_way = scene.folder / "selection.json.new"
    in_the_way.mkdir()
    scene.release(OLD + NEW, "8", 8)
    scene.daemon.post("install")
    status = scene.daemon.wait(lambda status: status["last_error"] and status["state"] not in ("checking", "installing"),
                               "it fails")
    assert status["state"] == "reboot-pending" and status["boot"]["next"] == "b"
    assert [block["what"] for block in status["blocked_by"]] == ["next-slot-invalid"]
    in_the_way.rmdir()
    scene.daemon.post("check")
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending" and status["slots"]["b"]["version"] == "8",
                      "it is armed")


@pytest.mark.parametrize("content", [OLD, OLD + NEW], ids=["what-runs", "another"])
@pytest.mark.parametrize("serial", [2, 6, None])
def test_a_replay_does_not_keep_a_fix_from_its_boot(scene, content, serial):
    """7 is the fix: what is older neither takes it back nor its place."""
    scene.start()
    arm(scene)
    scene.release(content, "replayed", serial)
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["last_error"] and status["state"] == "reboot-pending", "it is refused")
    assert status["last_error"]["kind"] == "refused"
    assert [block["what"] for block in status["blocked_by"]] == ["downgrade"]
    assert status["boot"]["next"] == "b" and status["slots"]["b"]["serial"] == 7 and status["slots"]["a"]["serial"] == 2
    assert scene.slots[1].read_bytes() == NEW


def test_no_serial(scene):
    scene.start()
    scene.release(NEW, "3", None)
    scene.assert_refused(["refused"], "no serial", what="downgrade")


def test_expired(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--expires", "2026-01-01T00:00:00Z")
    scene.assert_refused(["refused"], "2026-01-01T00:00:00Z", what="expired")


def test_for_another_device(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--compatible", "board-8")
    scene.assert_refused(["refused"], "board-8", "board-7", what="compatible")
