# SPDX-License-Identifier: MIT
"""moonsinterd: whom it trusts, that trust does not fail open, and that time does not go back."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import time

import pytest

import images
from conditions import is_armed, is_refused, whats
from evil_server import EvilServer
from fleet import Authority
from keys import Key
from programs import PATIENCE, SANITIZED, moonsinter, wait_until
from releases import make_release

pytestmark = pytest.mark.sanitized

ONE, TWO = images.noise(300_000, "trust: one"), images.noise(300_000, "trust: two")


@pytest.fixture
def keys_folder(folder, key):
    path = folder / "keys.d"
    path.mkdir()
    shutil.copy(key.public, path)
    return path


@pytest.fixture
def release(folder, key):
    return make_release(folder / "1", ONE, version="1", serial=1,
                        options=("--sign", key.secret, "--trusted-comment", "the first one"))


def test_without_a_key_the_server_is_trusted_and_that_is_said(nginx, release, file_slots, make_daemon, folder):
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": folder}).start()
    status = daemon.wait(is_armed, "it is installed")
    assert status["trust"] == {"signature_required": False, "keys": 0,
                               "why": "the server is trusted: no key is installed, so whoever controls it, or the way to "
                                      "it, decides what this device boots"}
    assert status["update"]["signed_by"] is None
    assert "the server is trusted: no key" in daemon.log
    assert nginx.requests("/image.json.minisig") == []
    text = moonsinter("status", "--socket", daemon.socket, "--json").stdout
    assert "the server is trusted" in text


@pytest.mark.fast
def test_a_key_is_enough_to_demand_signatures(nginx, release, key, keys_folder, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder}).start()
    status = daemon.wait(is_armed, "it is installed")
    assert status["trust"]["signature_required"] and status["trust"]["keys"] == 1
    assert status["update"]["signed_by"] == key.id and status["update"]["trusted_comment"] == "the first one"
    # Known from before, and signed still, after a restart: a 304 is all that is asked for.
    assert daemon.stop() == 0
    nginx.forget()
    daemon.start()
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date" and nginx.requests("/image.json"), "it is known")
    nginx.wait_for_silence()
    assert [request.status for request in nginx.requests("/image.json")][-1:] == [304]
    assert nginx.requests("/image.json.minisig") == []
    assert daemon.status()["update"]["signed_by"] == key.id


def test_trust_does_not_fail_open(nginx, folder, release, key, keys_folder, file_slots, make_daemon):
    """Rule 9: a signed release was accepted, and the next slot's /etc brings no key."""
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder}).start()
    daemon.wait(is_armed, "it is installed")
    daemon.post("reboot")
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it runs")
    assert daemon.stop() == 0
    for file in keys_folder.iterdir():
        file.unlink()
    nginx.publish(make_release(folder / "2", TWO, version="2", serial=2))
    daemon.start()
    daemon.post("check")
    status = daemon.wait(is_refused, "it is refused")
    assert "no key is trusted here" in status["last_error"]["message"]
    assert status["trust"]["signature_required"] and "accepted before" in status["trust"]["why"]
    # Neither does it when the record is lost.
    assert daemon.stop() == 0
    (daemon.folder / "state" / "record.json").write_text("lost")
    daemon.start()
    assert daemon.status()["trust"]["signature_required"]
    assert daemon.stop() == 0
    # Only by hand.
    daemon.settings["Trust"]["RequireSignature"] = "no"
    daemon.write_config()
    daemon.start()
    daemon.wait(lambda status: status["slots"]["a"]["version"] == "2", "it is installed")
    assert "RequireSignature=no" in daemon.status()["trust"]["why"]


STATE_FILES = "record.json", "record.json.bad", "manifest.json", "manifest.json.minisig", "signatures-demanded"


def injured_states_of(folder, kept):
    """Copies of a state folder of which one file is gone or damaged."""
    for name in STATE_FILES:
        for how in ("gone", "damaged"):
            state = folder.with_name(f"state-{kept}-{name}-{how}")
            shutil.copytree(folder, state)
            if how == "gone":
                (state / name).unlink(missing_ok=True)
            else:
                (state / name).write_bytes(b"\0damaged")
            yield state


def start_until(daemon, state, fault):
    """A start during which the N-th call that touches a file of the state folder ends in `fault`, then an end in order.
    Returns whether there was an N-th call."""
    paths = [option for name in STATE_FILES for file in (name, f"{name}.new") for option in ("-P", state / file)]
    trace = state.with_name("trace")
    pathlib.Path(daemon.socket).unlink(missing_ok=True)
    daemon.start(wait=False, prefix=["strace", "-f", "-qq", "-o", str(trace), *map(str, paths), "-e", f"inject={fault}"])
    wait_until(lambda: daemon.process.poll() is not None or os.path.exists(daemon.socket), "it ends or listens")
    # strace hands no SIGTERM on; its one child is the daemon.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
        os.kill(int(pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()[0]), signal.SIGTERM)
    daemon.process.wait(20 * PATIENCE)
    daemon.process = None
    return "INJECTED" in trace.read_text() or "killed by SIGKILL" in trace.read_text()


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="strace and the leak sanitizer do not go together")
def test_trust_outlives_any_one_file(nginx, release, keys_folder, file_slots, make_daemon):
    """Rule 9, whatever becomes of one file of the state folder, and at whatever moment a start ends after that."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    file_slots[0].write_bytes(ONE)
    daemon = make_daemon(nginx.publish(release), file_slots, mode="check", Trust={"Keys": keys_folder}).start()
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it knows what it runs")
    assert daemon.stop() == 0
    for file in keys_folder.iterdir():
        file.unlink()
    # Once, somebody switched it off, and took what was not signed: no signature is kept that could speak for it.
    for kept in ("signed", "unsigned"):
        if kept == "unsigned":
            daemon.settings["Trust"]["RequireSignature"] = "no"
            nginx.publish(make_release(release.parent, ONE, version="1 anew", serial=2))
            daemon.settings["Storage"]["StateDirectory"] = daemon.folder / "state"
            daemon.write_config()
            daemon.start()
            daemon.wait(lambda status: not (daemon.folder / "state" / "manifest.json.minisig").exists(), "it is taken")
            assert daemon.stop() == 0
            del daemon.settings["Trust"]["RequireSignature"]
        faults = [f"all:{fault}:when={{}}" for fault in (["signal=KILL", "error=EIO"] if kept == "signed" else ["signal=KILL"])]
        whole = daemon.folder / "state"
        (whole / "record.json.bad").touch()
        for injured in injured_states_of(whole, kept):
            for fault in faults:
                for step in range(1, 100):
                    state = daemon.folder / "state-under-test"
                    shutil.rmtree(state, ignore_errors=True)
                    shutil.copytree(injured, state)
                    daemon.settings["Storage"]["StateDirectory"] = state
                    daemon.write_config()
                    met = start_until(daemon, state, fault.format(step))
                    daemon.start()
                    assert daemon.status()["trust"]["signature_required"], f"{injured.name}, {fault.format(step)}"
                    daemon.kill()
                    if not met:
                        break


def test_a_signature_that_nobody_demands(nginx, folder, release, keys_folder, file_slots, make_daemon):
    """With RequireSignature=no it is looked at and told of, and stops nothing."""
    stranger = Key(folder / "stranger")
    stranger.sign(f"{release}.json")
    daemon = make_daemon(nginx.publish(release), file_slots,
                         Trust={"Keys": keys_folder, "RequireSignature": "no"}).start()
    status = daemon.wait(is_armed, "it is installed")
    assert status["update"]["signed_by"] is None and not status["trust"]["signature_required"]
    assert f"by key {stranger.id}, which is not trusted here" in daemon.log


def test_rotation_is_a_file_copy(nginx, folder, release, key, keys_folder, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="check", Trust={"Keys": keys_folder}).start()
    daemon.wait(lambda status: whats(status) == ["mode"], "it is offered")
    new = Key(folder / "new")
    new.sign(f"{release}.json")
    nginx.publish(release)
    daemon.post("install")
    # The manifest is the same, so the server answers 304, and the first signature still counts.
    daemon.wait(is_armed, "it is installed")
    daemon.post("cancel")
    daemon.wait(lambda status: status["state"] == "held", "it is taken back")
    # The old key goes: what it signed has to come again, whole, and its like is refused.
    shutil.copy(new.public, keys_folder / "new.pub")
    for file in keys_folder.glob("key.pub"):
        file.unlink()
    daemon.reload()
    daemon.wait(lambda status: status["update"]["signed_by"] == new.id and status["state"] == "held",
                "what the old key signed is forgotten, and the reload looks anew")
    daemon.post("install")
    status = daemon.wait(is_armed, "it is installed")
    assert status["update"]["signed_by"] == new.id


def test_a_key_that_cannot_be_read_is_an_error(nginx, release, keys_folder, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder})
    daemon.start()
    (keys_folder / "other.pub").write_text("not a key")
    daemon.reload()
    daemon.wait(lambda status: "the settings were not taken" in daemon.log, "the old settings stay")
    assert "other.pub" in daemon.log and daemon.status()["trust"]["keys"] == 1
    assert daemon.stop() == 0
    daemon.start(wait=False)
    assert daemon.process.wait(20) != 0
    assert "other.pub" in daemon.log.splitlines()[-1] or "other.pub" in daemon.log


def test_keys_that_others_may_write_are_no_open_door(nginx, release, keys_folder, file_slots, make_daemon):
    """On a device that has accepted nothing yet: no key counts, and the server is not trusted for it."""
    keys_folder.chmod(0o777)
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "it holds")
    assert whats(status) == ["unsafe-keys"] and status["trust"]["signature_required"] and status["trust"]["keys"] == 0


def test_expired_is_judged_again_at_each_poll(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """A frozen mirror is noticed, also on a 304; and what has expired by the time that a signed release was made stays so
    whatever the clock says."""
    soon = int(time.time()) + 5
    release = make_release(folder / "1", ONE, version="1", serial=1,
                           options=("--sign", key.secret, "--expires", f"@{soon}"))
    daemon = make_daemon(nginx.publish(release), file_slots, mode="check", Trust={"Keys": keys_folder},
                         Update={"Interval": "1s"}).start()
    daemon.wait(lambda status: whats(status) == ["mode"], "it is offered, and has not expired")
    status = daemon.wait(lambda status: "expired" in whats(status), "it has")
    assert time.time() >= soon
    nginx.wait_for_silence()
    assert nginx.requests("/image.json")[-1].status == 304
    assert is_refused(status) and "expired" in status["last_error"]["message"]


def test_a_frozen_server_is_noticed_by_who_runs_what_it_offers(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """Which is what a freeze makes of all devices. What runs goes on running."""
    file_slots[0].write_bytes(ONE)
    soon = int(time.time()) + 5
    release = make_release(folder / "1", ONE, version="1", serial=1,
                           options=("--sign", key.secret, "--expires", f"@{soon}"))
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder}, Update={"Interval": "1s"}).start()
    daemon.wait(lambda status: status["state"] == "idle" and status["last_check"]["result"] == "up-to-date",
                "it runs what is offered, which has not expired")
    status = daemon.wait(lambda status: whats(status) == ["expired"], "it has")
    assert time.time() >= soon
    nginx.wait_for_silence()
    assert nginx.requests("/image.json")[-1].status == 304
    assert is_refused(status) and status["last_check"]["result"] == "up-to-date"
    assert status["slots"]["a"]["state"] == "good" and status["boot"]["next"] == "a"
    # Published anew, it is well again.
    nginx.publish(make_release(folder / "1", ONE, version="1", serial=2, options=("--sign", key.secret)))
    daemon.wait(lambda status: status["state"] == "idle" and status["slots"]["a"]["serial"] == 2, "it is up to date")


def test_what_is_published_anew_for_others_lends_nothing(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """The image that runs, under a higher serial: for another device, or after its time. Neither is a floor."""
    file_slots[0].write_bytes(ONE)
    options = "--sign", key.secret, "--compatible"
    url = nginx.publish(make_release(folder / "1", ONE, version="1", serial=1, options=(*options, "board-1")))
    daemon = make_daemon(url, file_slots, mode="check", Trust={"Keys": keys_folder},
                         Update={"Compatible": "board-1"}).start()
    daemon.wait(lambda status: status["slots"]["a"]["serial"] == 1, "it knows what it runs")
    for more in (("board-2",), ("board-1", "--expires", "2026-01-01T00:00:00Z")):
        nginx.publish(make_release(folder / "1", ONE, version="9", serial=9, options=(*options, *more)))
        daemon.post("check")
        daemon.wait(lambda status: status["update"]["serial"] == 9 and status["state"] in ("idle", "held"), "it has looked")
        assert daemon.status()["slots"]["a"]["serial"] == 1
        nginx.publish(make_release(folder / "1", ONE, version="1", serial=1, options=(*options, "board-1")))
        daemon.post("check")
        daemon.wait(lambda status: status["update"]["serial"] == 1 and status["state"] == "idle", "it has looked again")
    nginx.publish(make_release(folder / "2", TWO, version="2", serial=2, options=(*options, "board-1")))
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["mode"], "2 may be installed")


def read_floor(daemon):
    return json.loads((daemon.folder / "state" / "record.json").read_text()).get("floor_s")


def offer_what_runs_from_2099(nginx, folder, key, keys_folder, file_slots, make_daemon, compatible):
    """The image that runs, made in 2099; then a release that expires before that. Returns the status that it leads to."""
    file_slots[0].write_bytes(ONE)
    options = "--sign", key.secret, "--compatible"
    url = nginx.publish(make_release(folder / "1", ONE, version="1", serial=1,
                                     options=(*options, "board-1", "--created", "2025-01-01T00:00:00Z")))
    daemon = make_daemon(url, file_slots, Trust={"Keys": keys_folder}, Update={"Compatible": "board-1"}).start()
    daemon.wait(lambda status: status["slots"]["a"]["serial"] == 1 and status["state"] == "idle", "it knows what it runs")
    wait_until(lambda: read_floor(daemon), "it is remembered when that was made")
    known = read_floor(daemon)
    for serial, year in (8, 2026), (9, 2099):
        nginx.publish(make_release(folder / str(serial), ONE, version=str(serial), serial=serial,
                                   options=(*options, compatible, "--created", f"{year}-01-01T00:00:00Z")))
        daemon.post("check")
        daemon.wait(lambda status: status["update"]["serial"] == serial and status["state"] in ("idle", "held"),
                    "it has looked")
        if compatible != "board-1":
            assert read_floor(daemon) == known
    nginx.publish(make_release(folder / "10", TWO, version="10", serial=10,
                               options=(*options, "board-1", "--expires", "2098-01-01T00:00:00Z")))
    daemon.post("check")
    return daemon.wait(lambda status: status["update"]["serial"] == 10 and status["state"] in ("reboot-pending", "held"),
                       "10 is installed, or held")


def test_what_is_refused_does_not_lead_time(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """Else a manifest of another line, which only names the image that runs, would end the updates of this device."""
    status = offer_what_runs_from_2099(nginx, folder, key, keys_folder, file_slots, make_daemon, "board-2")
    assert status["state"] == "reboot-pending" and whats(status) == []


def test_an_offer_does_not_lead_time_past_the_clock(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """What is installed does, for a machine without a clock: see test_time_does_not_go_back_behind_what_was_accepted."""
    status = offer_what_runs_from_2099(nginx, folder, key, keys_folder, file_slots, make_daemon, "board-1")
    assert status["state"] == "reboot-pending" and whats(status) == []


def test_an_unsigned_offer_is_no_floor(nginx, folder, file_slots, make_daemon):
    """Else any server could name a serial that no release ever reaches."""
    file_slots[0].write_bytes(ONE)
    daemon = make_daemon(nginx.publish(make_release(folder / "1", ONE, version="1", serial=2**63 - 1)), file_slots,
                         mode="check", Trust={"Keys": folder}).start()
    daemon.wait(lambda status: status["slots"]["a"]["serial"] == 2**63 - 1, "it knows what it runs")
    # Nor is it one after a restart.
    assert daemon.stop() == 0
    nginx.publish(make_release(folder / "2", TWO, version="2", serial=2))
    daemon.start()
    daemon.wait(lambda status: whats(status) == ["mode"], "2 may be installed")


def test_two_releases_replayed_in_turn_are_not_looked_at_each_time(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """Each is above the floor and larger than the budget, and would cost its table and a scan at every poll."""
    releases = [make_release(folder / version, content, version=version, serial=serial, options=("--sign", key.secret))
                for version, content, serial in (("2", ONE, 2), ("3", TWO, 3))]
    url = nginx.publish(releases[0])
    daemon = make_daemon(url, file_slots, Trust={"Keys": keys_folder}, Update={"Interval": "1s"},
                         Transfer={"MaxBytesPerUpdate": "100K"}).start()
    daemon.wait(lambda status: whats(status) == ["max-bytes"], "it is planned, and too much")
    for turn in range(20):
        nginx.publish(releases[1 - turn % 2])
        status = daemon.wait(lambda status: status["update"]["serial"] == 3 - turn % 2 and status["state"] == "held" and
                             whats(status) != [], "it is offered")
        if "unsteady-server" in whats(status):
            break
    assert whats(status) == ["unsteady-server"] and status["blocked_by"][0]["until"]
    assert turn >= 4, "an honest publisher may change his mind"
    tables = len(nginx.requests("/image.chunks"))
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["max-bytes"], "whoever asks gets it looked at")
    nginx.wait_for_silence()
    assert len(nginx.requests("/image.chunks")) == tables + 1
    # A newer one never waits.
    nginx.publish(make_release(folder / "4", ONE + TWO, version="4", serial=4, options=("--sign", key.secret)))
    daemon.wait(lambda status: status["update"]["serial"] == 4 and whats(status) == ["max-bytes"], "4 is looked at")


@pytest.mark.parametrize("order", ["check", "install"])
def test_without_serials_only_an_operator_takes_back_what_is_armed(nginx, folder, file_slots, make_daemon, order):
    file_slots[0].write_bytes(ONE)
    one = make_release(folder / "1", ONE, version="1")
    daemon = make_daemon(nginx.publish(one), file_slots, Trust={"Keys": folder}, Update={"Interval": "1s"}).start()
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it knows what it runs")
    nginx.publish(make_release(folder / "2", TWO, version="2"))
    daemon.wait(is_armed, "2 is armed")
    nginx.publish(one)
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date" and status["state"] == "reboot-pending",
                "a poll finds what runs")
    daemon.wait(is_armed, "2 is armed still")
    daemon.post(order)
    status = daemon.wait(lambda status: status["state"] == "idle" and status["boot"]["next"] == "a", "it is taken back")
    assert status["last_update"]["result"] == "cancelled" and status["last_update"]["to"] == "2"


def test_time_does_not_go_back_behind_what_was_accepted(nginx, folder, key, keys_folder, file_slots, make_daemon):
    """For machines that boot in 1970: the clock here says 2026 where the last release was made in 2050."""
    release = make_release(folder / "1", ONE, version="1", serial=1,
                           options=("--sign", key.secret, "--created", "2050-01-01T00:00:00Z"))
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder}).start()
    daemon.wait(is_armed, "it is installed")
    daemon.post("reboot")
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it runs")
    nginx.publish(make_release(folder / "2", TWO, version="2", serial=2,
                               options=("--sign", key.secret, "--expires", "2049-12-31T00:00:00Z")))
    daemon.post("check")
    status = daemon.wait(lambda status: "expired" in whats(status), "it has expired")
    assert "2050-01-01T00:00:00Z or later" in status["blocked_by"][0]["why"]
    # Such a machine's TLS fails for its clock's sake, which is told apart from a server that is not to be trusted.
    authority = Authority(folder / "authority")
    authority.issue("server", days=-1)
    certificate = authority.folder / "server.pem", authority.folder / "server.key"
    with EvilServer(folder / "2", tls=certificate) as server:
        assert daemon.stop() == 0
        daemon.settings["Update"]["Url"] = server.url("image")
        daemon.settings["Transfer"] = {"CaFile": authority.pem}
        daemon.write_config()
        daemon.start()
        status = daemon.wait(lambda status: whats(status) == ["clock"], "it waits for the clock")
        assert status["state"] == "held" and status["last_check"]["result"] == "failed"
        assert "set the clock" in status["blocked_by"][0]["why"]
        assert "certificate" in status["last_error"]["message"]


def test_a_certificate_that_expired_is_not_the_clocks_fault(folder, release, keys_folder, file_slots, make_daemon):
    authority = Authority(folder / "authority")
    with EvilServer(release.parent, tls=authority.issue("server", days=-1)) as server:
        daemon = make_daemon(server.url("image"), file_slots, Trust={"Keys": keys_folder},
                             Transfer={"CaFile": authority.pem}).start()
        status = daemon.wait(lambda status: status["last_error"], "it fails")
        assert status["last_error"]["kind"] == "remote" and whats(status) == []


def test_downgrade_by_the_operators_leave(nginx, folder, key, keys_folder, file_slots, make_daemon):
    file_slots[0].write_bytes(TWO)
    url = nginx.publish(make_release(folder / "2", TWO, version="2", serial=2, options=("--sign", key.secret)))
    daemon = make_daemon(url, file_slots, Trust={"Keys": keys_folder}).start()
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it knows what it runs")
    nginx.publish(make_release(folder / "1", ONE, version="1", serial=1, options=("--sign", key.secret)))
    daemon.post("check")
    status = daemon.wait(lambda status: whats(status) == ["downgrade"], "it is held")
    assert is_refused(status)
    daemon.settings["Update"]["AllowDowngrade"] = "yes"
    daemon.write_config()
    daemon.reload()
    # Nothing holds it any longer, so it is looked for at once.
    daemon.wait(is_armed, "it is installed")
    # The floor does not fall with it.
    assert os.path.exists(daemon.folder / "state" / "record.json")


def test_a_slot_that_forgot_the_key_fails_its_trial(nginx, release, keys_folder, file_slots, make_daemon):
    """Else it could never be updated again. Server=yes asks for what the next update will need."""
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": keys_folder},
                         Health={"Server": "yes", "Timeout": "3s"}).start()
    daemon.wait(is_armed, "it is installed")
    assert daemon.stop() == 0
    for file in keys_folder.iterdir():
        file.unlink()
    daemon.start()
    status = daemon.wait(lambda status: status["last_update"]["result"] == "fell-back", "it falls back")
    assert "no key is trusted here" in status["last_update"]["reason"]
    status = daemon.wait(lambda status: status["slots"]["a"]["role"] == "active", "the old slot runs")
    assert status["slots"]["b"]["state"] == "bad"


def rewrite(path, offset, data):
    with open(path, "r+b") as slot:
        slot.seek(offset)
        slot.write(data)


@pytest.mark.parametrize("kind", ["squashfs", "other"])
def test_a_slot_that_was_written_by_other_means(nginx, folder, file_slots, make_daemon, kind):
    """Reflashed by hand, a cloned card, a state folder from a backup: it would else be up to date for ever."""
    image = (b"hsqs" if kind == "squashfs" else b"none") + ONE[4:]
    file_slots[0].write_bytes(image)
    daemon = make_daemon(nginx.publish(make_release(folder / "1", image, version="1", serial=1)), file_slots, mode="check",
                         Trust={"Keys": folder}).start()
    daemon.wait(lambda status: status["slots"]["a"]["version"] == "1", "it knows what it runs")
    daemon.post("install")
    daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date" and status["state"] == "idle", "nothing is to be done")
    # A little of it changes, as mounting it read-write does.
    assert daemon.stop() == 0
    rewrite(file_slots[0], len(image) - 100, b"written since")
    daemon.start()
    if kind == "other":
        status = daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it is the same still")
        assert status["slots"]["a"]["version"] == "1" and status["last_error"] is None
        assert daemon.stop() == 0
        file_slots[0].write_bytes(TWO)
        daemon.start()
    status = daemon.wait(lambda status: whats(status) == ["mode"], "what is offered does not run")
    assert status["slots"]["a"]["version"] is None and status["slots"]["a"]["state"] == "good"
    assert status["last_error"]["kind"] == "mismatch" and str(file_slots[0]) in status["last_error"]["message"]
    daemon.post("install")
    daemon.wait(is_armed, "it can be installed")
    # Nor is what was armed taken on trust, which this start boots.
    assert daemon.stop() == 0
    file_slots[1].write_bytes(TWO)
    daemon.start()
    status = daemon.wait(lambda status: whats(status) == ["mode"] and status["slots"]["b"]["role"] == "active", "it is not known")
    assert status["slots"]["b"]["version"] is None
    # Written back, it costs a look and no more.
    assert daemon.stop() == 0
    file_slots[1].write_bytes(image)
    daemon.start()
    daemon.wait(lambda status: status["slots"]["b"]["version"] == "1" and status["state"] == "idle", "it is known again")
