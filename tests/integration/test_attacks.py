# SPDX-License-Identifier: MIT
"""A table of attacks on a device that has the publisher's key, by whoever is between the two: the server is hostile, and
whatever it does, the old slot goes on booting and the error names the reason."""
import hashlib
import json
import os
import shutil
import struct
import subprocess
import subprocess

import pytest
import xxhash

import images
import programs
from evil_server import EvilServer
from fleet import Authority
from keys import Key
from programs import MOONSINTERD
from loops import seeing_links
from releases import make_release

OLD = images.noise(400_000, "attacks: old")
NEW = OLD[:100_000] + images.noise(150_000, "attacks: new") + OLD[250_000:]
EVIL = b"evil" * 65536
HEADER, ROW = 44, 44


class Scene:
    """A device that runs release 2, its publisher, and a server that is not the publisher's."""

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
        """Published, signed by the publisher."""
        return make_release(self.root, content, version=version, serial=serial,
                            options=("--compatible", "board-7", "--sign", (key or self.key).secret, *options))

    def start(self, url=None, **sections):
        """With release 2 running, marked good, and the server's manifest of it known."""
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

    def assert_refused(self, kinds, *words, timeout=30):
        """Asks for the update; it fails for this reason, and the old slot boots."""
        before = self.daemon.status()["last_error"]
        assert before is None
        self.daemon.post("install")
        status = self.daemon.wait(lambda status: status["last_error"] and status["state"] in ("idle", "held"),
                                  "an error", timeout=timeout)
        error = status["last_error"]
        assert error["kind"] in kinds, error
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
    scene.assert_refused(["refused"], "serial 1", "AllowDowngrade")


def test_old_release_replayed_after_a_good_one_was_published_anew(scene):
    """3 turned out to be harmful, and the publisher took it back by the image that runs, under a higher serial."""
    scene.start()
    scene.release(OLD, "4", 4)
    scene.daemon.post("check")
    status = scene.daemon.wait(lambda status: status["slots"]["a"]["serial"] == 4, "it is known by its new name")
    assert status["slots"]["a"]["version"] == "4" and status["last_check"]["result"] == "up-to-date"
    scene.release(NEW, "3", 3)
    scene.assert_refused(["refused"], "serial 3", "older than 4", "AllowDowngrade")


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
    scene.assert_refused(["refused"], "serial 7", "older than 8")


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


def fails_once(scene, what, action, **sections):
    """Release 7 waits for its boot; what takes it back cannot be written."""
    scene.start(Boot={"SelectionFile": scene.folder / "selection.json"}, **sections)
    arm(scene)
    in_the_way = {"selection": scene.folder / "selection.json.new",
                  "record": scene.daemon.folder / "state" / "record.json.new"}[what]
    in_the_way.mkdir()
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
    scene.assert_refused(["refused"], "no serial")


def test_expired(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--expires", "2026-01-01T00:00:00Z")
    scene.assert_refused(["refused"], "expired at 2026-01-01T00:00:00Z")


def test_for_another_device(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--compatible", "board-8")
    scene.assert_refused(["refused"], "board-8", "board-7")


# --- what the signed manifest refers to ---

def test_other_bytes_in_a_range(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    evil = bytearray(NEW)
    evil[150_000:150_100] = EVIL[:100]
    scene.file("").write_bytes(evil)
    scene.assert_refused(["mismatch"], "chunk", "/image", "not those the manifest names")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


def test_other_bytes_with_the_same_xxh3(scene):
    """XXH3 finds chunks and proves nothing: the table, signed, has the XXH3 of the evil bytes in one row."""
    scene.start()
    scene.release(NEW, "3", 3)
    table = bytearray(scene.file(".chunks").read_bytes())
    evil, offset = bytearray(NEW), 0
    for row in range(HEADER, len(table), ROW):
        size = struct.unpack_from("<I", table, row)[0]
        if offset >= 110_000:
            evil[offset:offset + size] = EVIL[:size]
            struct.pack_into("<Q", table, row + 4, xxhash.xxh3_64_intdigest(bytes(evil[offset:offset + size])))
            break
        offset += size
    scene.file(".chunks").write_bytes(table)
    scene.file("").write_bytes(evil)
    manifest = scene.manifest()
    manifest["moonsinter"]["chunks"]["sha256"] = hashlib.sha256(table).hexdigest()
    scene.sign_manifest(manifest)
    scene.assert_refused(["mismatch"], "chunk", "not those the manifest names")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


@pytest.mark.parametrize("size", ["same", "longer"])
def test_another_table(scene, size):
    scene.start()
    scene.release(NEW, "3", 3)
    table = bytearray(scene.file(".chunks").read_bytes())
    table[-1] ^= 1
    scene.file(".chunks").write_bytes(table + (bytes(ROW) if size == "longer" else b""))
    scene.assert_refused(["mismatch" if size == "same" else "refused"], "table of chunks", "signature is demanded")


def test_a_table_of_the_smallest_chunks(scene):
    """It would cost the device 44 bytes of memory and more for each 256 of the image: not even fetched."""
    scene.start()
    scene.release(bytes(32 << 20), "3", 3)
    manifest = scene.manifest()
    manifest["moonsinter"]["chunks"]["size"] = HEADER + ROW * (32 << 20) // 256
    scene.file(".chunks").unlink()
    scene.sign_manifest(manifest)
    scene.assert_refused(["format"], "131072 chunks", "memory")


def test_no_table(scene):
    """The ancestor's fixed chunks, which XXH32 knows by, do not serve in its place."""
    scene.start()
    scene.release(NEW, "3", 3)
    scene.file(".chunks").unlink()
    scene.assert_refused(["remote"], "table of chunks", "signature is demanded", "404")
    assert not scene.slots[1].read_bytes().strip(b"\0")


@pytest.mark.parametrize("file", [".chunks", ".json.minisig", ""])
def test_the_password_of_the_address(scene, file):
    """What is wrong with a file is told with its address, to whoever may read the log, the status or the state."""
    url = scene.server.url("image").replace("://", "://us3r-s3cret:passw0rd-s3cret@")
    scene.start(url=f"{url}?token=t0ken-s3cret")
    scene.release(NEW, None, 3)
    path = scene.file(file)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    daemon = scene.daemon
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_error"], "it is refused")
    assert status["slots"]["a"]["role"] == "active" and status["boot"]["next"] == "a"
    shown = [json.dumps(daemon.request("GET", f"/v1/{name}")) for name in ("status", "history", "plan", "config")]
    shown += [daemon.request("GET", "/metrics")[1], daemon.log]
    shown += [kept.read_text(errors="replace") for kept in (daemon.folder / "state").rglob("*") if kept.is_file()]
    assert all("s3cret" not in text for text in shown), shown


def test_an_image_that_its_chunks_do_not_make(scene):
    """Every chunk is proved; the whole is not what was signed, which only reading it back shows."""
    scene.start()
    scene.release(NEW, "3", 3)
    manifest = scene.manifest()
    manifest["moonsinter"]["sha256"] = hashlib.sha256(OLD + b"x").hexdigest()
    scene.sign_manifest(manifest)
    scene.assert_refused(["mismatch"], "read back", "SHA-256")


def test_another_pack(scene):
    """What is in the pack is found by an index that is signed, and is proved as any other chunk."""
    scene.start()
    scene.release(OLD + EVIL, "0", 0, "--pack")
    other = scene.file(".pack").read_bytes()
    scene.release(NEW, "3", 3, "--pack")
    scene.file("").unlink()
    # Of the same size: one of another is told by that.
    size = scene.file(".pack").stat().st_size
    scene.file(".pack").write_bytes(other[-size:].rjust(size, b"\0"))
    scene.assert_refused(["mismatch"], "pack")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


def test_other_bytes_in_the_pack(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--pack")
    scene.file("").unlink()
    frames = scene.manifest()["moonsinter"]["pack"]["frames"]
    pack = bytearray(scene.file(".pack").read_bytes())
    # All but the index: zstd's frames each begin with a magic number, which stays.
    for offset in range(8, frames["offset"] - 8, 4096):
        pack[offset] ^= 0x55
    scene.file(".pack").write_bytes(pack)
    scene.assert_refused(["mismatch"], "pack")


# --- a server without end or shame ---

def test_endless_manifest(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image.json", "endless")
    scene.assert_refused(["refused"], "image.json", "sent more", "allowed")


def test_endless_signature(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image.json.minisig", "endless")
    scene.assert_refused(["refused"], "not signed", "sent more", "allowed")


def test_endless_chunk(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image", "endless")
    scene.assert_refused(["mismatch"], "/image", "sent more", "asked for")


@pytest.mark.parametrize("file", ["image.json", "image.json.minisig", "image.chunks", "image"])
@pytest.mark.parametrize("body", ["endless", "huge"])
def test_a_redirect_with_an_endless_body(scene, file, body):
    """Of which curl tells nobody."""
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave(file, f"redirect-{body}")
    kinds = {"image.json.minisig": ["refused"]}.get(file, ["remote"])
    scene.assert_refused(kinds, file, "redirect at", "has a body of more than 16384 bytes")
    assert scene.server.stats()["paths"][f"/{file}"]["bytes"] < 64 << 20


@pytest.mark.parametrize("file", ["image.json", "image.json.minisig", "image.chunks", "image"])
@pytest.mark.parametrize("behaviour", ["padding", "trailing", "padding-drip"])
def test_bytes_that_are_of_no_body(scene, file, behaviour):
    """Extensions of chunks and trailers, which curl reads and hands to nobody."""
    scene.start(Transfer={"StallTimeout": "1s"} if behaviour == "padding-drip" else {})
    scene.release(NEW, "3", 3)
    scene.server.behave(file, behaviour)
    before = scene.server.stats()["bytes"]
    words, kind = {"padding": ("beside the body", "remote"), "trailing": ("sent more", "refused"),
                   "padding-drip": ("", "network")}[behaviour]
    if behaviour == "trailing" and file == "image":
        kind = "mismatch"
    if file == "image.json.minisig" and behaviour != "padding-drip":
        kind = "refused"
    scene.assert_refused([kind], file, words, timeout=300)
    # Read are some MB before anybody looks; the server's and the kernel's own buffers hold some more.
    assert scene.server.stats()["bytes"] - before < 128 << 20


@pytest.mark.parametrize("file, behaviour", [("image.json", "redirect-drip"), ("image.json.minisig", "redirect-drip"),
                                             ("image.chunks", "redirect-drip"), ("image", "redirect-drip"), ("image.json", "drip")])
def test_an_answer_that_drips(scene, file, behaviour):
    """Fast enough not to stall: a small file has a deadline as a whole, and a redirect little to say. A range of the image
    takes its time, for a slow line is not a dead one."""
    scene.start(Transfer={"StallTimeout": "1s"})
    scene.release(NEW, "3", 3)
    scene.server.behave(file, behaviour)
    kinds = ["remote"] if file == "image" else ["network"]
    scene.assert_refused(kinds, file, "has a body" if file == "image" else "timeout", timeout=300)


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


def make_empty(scene, serial):
    """What generate made of an image of 0 bytes before it refused that; signed by the publisher himself."""
    table = b"MSCHUNKS" + struct.pack("<III", 1, 65536, 0) + bytes(24)
    scene.release(NEW, str(serial), serial)
    manifest = scene.manifest()
    manifest.update(chunk_hashes="", last_chunk_size=0, file_hash=xxhash.xxh32_intdigest(b""), file_size=0)
    manifest["moonsinter"]["sha256"] = hashlib.sha256(b"").hexdigest()
    manifest["moonsinter"]["chunks"].update(size=len(table), sha256=hashlib.sha256(table).hexdigest())
    scene.file("").write_bytes(b"")
    scene.file(".chunks").write_bytes(table)
    scene.sign_manifest(manifest)


def test_an_empty_image(scene):
    """What the slot holds would boot under its name."""
    scene.start()
    make_empty(scene, 3)
    scene.assert_refused(["refused"], "image is empty")
    assert [block["what"] for block in scene.daemon.status()["blocked_by"]] in ([], ["empty-image"])
    scene.release(NEW, "2.1", 2)
    scene.daemon.post("install")
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "the floor did not rise")


def test_an_empty_image_is_not_what_runs(scene):
    """A device of which nothing is recorded: every slot begins with an image of 0 bytes."""
    make_empty(scene, 3)
    scene.server.start()
    scene.daemon = scene.make_daemon(scene.server.url("image"), scene.slots, Trust={"Keys": scene.trusted},
                                     Update={"Compatible": "board-7"}).start()
    status = scene.daemon.wait(lambda status: status["state"] == "held", "it is refused")
    assert [block["what"] for block in status["blocked_by"]] == ["empty-image"]
    assert status["slots"]["a"]["sha256"] is None and status["slots"]["a"]["serial"] is None


def test_a_redirect_to_plain_http(scene, folder):
    authority = Authority(folder / "authority")
    scene.start()
    scene.release(NEW, "3", 3)
    assert scene.daemon.stop() == 0
    with EvilServer(scene.root, tls=authority.issue("server")) as server:
        scene.daemon.settings["Update"]["Url"] = server.url(
            f"redirect/image?to=http://127.0.0.1:{scene.server.port}/image.json")
        scene.daemon.settings["Transfer"] = {"CaFile": authority.pem}
        scene.daemon.write_config()
        scene.daemon.start()
        status = scene.daemon.wait(lambda status: status["last_error"], "it is refused")
        assert status["last_error"]["kind"] == "refused", status["last_error"]
        assert "https to plain http" in status["last_error"]["message"]
        scene.assert_old_slot_boots(scene.daemon.status())


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
    assert scene.daemon.process.wait() == 1
    scene.daemon.process = None
    assert "the same storage" in scene.daemon.log and loops.backing(first).read_bytes() == bytes(1 << 20)
