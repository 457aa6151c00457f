# SPDX-License-Identifier: MIT
"""moonsinter doctor: what it finds on devices that are well and on such that are not."""
import json
import os
import pty
import re
import shutil
import subprocess

import pytest

import images
import keys
import programs
import releases
from releases import make_release

pytestmark = pytest.mark.sanitized


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


def doctor(config, *arguments):
    return programs.moonsinter("doctor", "--config", config, *arguments,
                               env={**os.environ, "MOONSINTERD": str(programs.MOONSINTERD)})


def examine(daemon):
    """Its findings as {check: [(result, message), ...]}; the exit status has to fit them."""
    result = doctor(daemon.config)
    assert result.stderr == "", result
    found = {}
    for event in result.named("finding"):
        found.setdefault(event["check"], []).append((event["result"], event["message"]))
    flat = [result_word for findings in found.values() for result_word, _ in findings]
    done = result.events[-1]
    assert done == {"event": "done", "ok": flat.count("ok"), "warnings": flat.count("warning"),
                    "failures": flat.count("failure")}
    assert result.status == (1 if "failure" in flat else 0), result
    return found


def only(found, check):
    (finding,) = found[check]
    return finding


def results(found, check):
    return [result for result, _ in found[check]]


def snapshot(folder):
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for path in folder.rglob("*") if not path.is_socket() and "nginx" not in str(path)}


def test_a_device_that_is_well(nginx, folder, release, file_slots, make_daemon):
    checks = folder / "health.d"
    checks.mkdir(mode=0o755)
    (checks / "10-fine").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    (checks / "10-fine").chmod(0o755)
    daemon = make_daemon(nginx.publish(release), file_slots, Health={"Checks": checks})
    before = snapshot(folder)
    found = examine(daemon)
    # Before the daemon ever ran, and nothing has changed by it.
    assert snapshot(folder) == before
    assert only(found, "settings")[0] == "ok"
    assert only(found, "boot-loader") == ("ok", "boot selection (file): slot a boots next")
    assert results(found, "slots") == ["ok", "ok"] and str(file_slots[1]) in found["slots"][1][1]
    assert only(found, "target")[0] == "ok" and "slot b" in only(found, "target")[1]
    assert only(found, "state-folder")[0] == "warning" and "not there yet" in only(found, "state-folder")[1]
    assert only(found, "server") == ("ok", "it offers release 1, an image of 500.0 kB")
    assert only(found, "server-ranges")[0] == "ok" and only(found, "server-etag")[0] == "ok"
    assert only(found, "signature")[0] == "warning" and only(found, "trust")[0] == "warning"
    assert "no signature is demanded" in only(found, "trust")[1]
    assert only(found, "offer") == ("ok", "it would be installed")
    assert only(found, "memory")[0] == "ok" and only(found, "clock")[0] in ("ok", "warning")
    assert only(found, "health-checks")[0] == "ok" and "1 programs" in only(found, "health-checks")[1]
    # With the daemon running and the release installed.
    daemon.start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "it is armed")
    found = examine(daemon)
    assert only(found, "boot-loader")[1].endswith("slot b boots next")
    assert only(found, "offer")[0] == "ok" and "which boots next" in only(found, "offer")[1]
    daemon.post("reboot")
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it runs")
    found = examine(daemon)
    assert only(found, "offer")[0] == "ok" and "which runs" in only(found, "offer")[1]
    assert only(found, "state-folder")[0] == "ok"


def test_settings_that_cannot_be_used(folder):
    config = folder / "bad.conf"
    config.write_text("[Update]\nUlr=http://127.0.0.1/x.img\n")
    result = doctor(config)
    assert result.status == 1
    messages = [event["message"] for event in result.named("finding") if event["result"] == "failure"]
    assert any(f"{config}:2" in message and "Ulr" in message for message in messages), messages
    assert result.events[-1]["failures"] == len(messages)


@pytest.mark.parametrize("bad", ["a key", "grubenv", "no grubenv", "ca-file", "slots", "url", "program"])
def test_one_bad_setting_does_not_hide_the_rest(bad, nginx, folder, release, file_slots, make_daemon):
    """All that can be looked at without it is."""
    settings, words = {
        "a key": ({"Update": {"Intervall": "1h"}}, "Intervall"),
        "grubenv": ({"Boot": {"Backend": "grub", "GrubenvFile": folder / "grubenv"}}, f"grub-editenv {folder}/grubenv create"),
        "no grubenv": ({"Boot": {"Backend": "grub"}}, "grub-editenv /boot/grub/grubenv create"),
        "ca-file": ({"Transfer": {"CaFile": folder / "absent.pem"}}, "absent.pem"),
        "slots": ({"Slots": {"A": None}}, "A= is missing"),
        "url": ({"Update": {"Url": "ftp://127.0.0.1/image"}}, "Url"),
        "program": ({"Boot": {"Backend": "custom"}}, "Program= is missing"),
    }[bad]
    if bad == "no grubenv" and any(os.path.exists(f"/boot/{name}/grubenv") for name in ("grub", "grub2")):
        pytest.skip("this machine has one")
    daemon = make_daemon(nginx.publish(release), file_slots, **settings)
    found = examine(daemon)
    assert ("failure", True) in [(result, words in message) for result, message in found["settings"]], found["settings"]
    assert {"memory", "clock", "state-folder"} <= found.keys()
    assert ("slots" in found) == (bad != "slots") and ("server" in found) == (bad != "url")
    if bad not in ("ca-file", "url"):
        assert results(found, "server") == ["ok"], found["server"]


def test_a_firmware_that_has_to_be_told_to_try_an_update(folder, file_slots, make_daemon):
    (folder / "autoboot.txt").write_text("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2\n"
                                         "# moonsinter: armed in boot 00000000\n")
    for mode, told in (("install", True), ("reboot", False)):
        daemon = make_daemon("http://127.0.0.1:1/image", file_slots, mode=mode,
                             Boot={"Backend": "rpi-tryboot", "AutobootFile": folder / "autoboot.txt"})
        found = [message for result, message in examine(daemon)["reboot"] if result == "warning"]
        assert any('systemctl reboot --reboot-argument="0 tryboot"' in message for message in found) == told, found


def test_a_slot_that_is_not_there(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), (file_slots[0], "PARTLABEL=moonsinter-test-absent"))
    found = examine(daemon)
    assert results(found, "slots") == ["ok", "failure"]
    assert "PARTLABEL=moonsinter-test-absent is not there" in found["slots"][1][1] and "lsblk" in found["slots"][1][1]


def test_a_target_that_is_held_and_too_small(nginx, loops, mount, release, file_slots, make_daemon):
    small = loops.attach(256 * 1024, "small")
    daemon = make_daemon(nginx.publish(release), (file_slots[0], small))
    result, message = only(examine(daemon), "slot-size")
    assert result == "failure" and "500000 bytes" in message and "262144 bytes" in message
    subprocess.run(["mkfs.ext4", "-q", "-F", small], check=True)
    point = mount(small)
    result, message = only(examine(daemon), "target")
    assert result == "failure" and str(point) in message


def test_a_slot_in_use_as_a_loop_device(nginx, loops, release, file_slots, make_daemon):
    slot = loops.attach(4 << 20, "slot")
    daemon = make_daemon(nginx.publish(release), (file_slots[0], slot))
    found = examine(daemon)
    assert only(found, "slot-size")[0] == "ok" and only(found, "target")[0] == "ok"


@pytest.mark.parametrize(("lines", "check", "result", "words"), [
    ("max_ranges 0;", "server-ranges", "failure", "range requests"),
    ("etag off;", "server-etag", "warning", "no strong ETag"),
    ("etag off; if_modified_since off; add_header Last-Modified '';", "server-etag", "warning", "neither ETag"),
])
def test_servers_that_cannot_do_everything(lines, check, result, words, make_nginx, release, file_slots, make_daemon):
    daemon = make_daemon(make_nginx(lines).publish(release), file_slots)
    found = only(examine(daemon), check)
    assert found[0] == result and words in found[1], found


def test_a_server_that_is_not_there(make_daemon, file_slots):
    for url, words in (("http://127.0.0.1:9/image", "Failed to connect"),
                       ("http://moonsinter-test.invalid/image", "moonsinter-test.invalid")):
        result, message = only(examine(make_daemon(url, file_slots)), "server")
        assert result == "failure" and words in message


def test_signatures(nginx, folder, release, file_slots, make_daemon):
    key = keys.Key(folder / "publisher")
    trusted = folder / "keys.d"
    trusted.mkdir()
    shutil.copy(key.public, trusted)
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": trusted})
    result, message = only(examine(daemon), "server")
    assert result == "failure" and "minisig" in message
    key.sign(f"{release}.json")
    daemon = make_daemon(nginx.publish(release), file_slots, Trust={"Keys": trusted})
    found = examine(daemon)
    assert only(found, "signature") == ("ok", f"the manifest is signed by key {key.id}")
    assert only(found, "trust")[0] == "ok" and only(found, "trust")[1].endswith(f": {key.id}")
    other = keys.Key(folder / "publisher", "other")
    shutil.copy(other.public, trusted)
    assert f"{key.id}, {other.id}" in only(examine(daemon), "trust")[1] or \
        f"{other.id}, {key.id}" in only(examine(daemon), "trust")[1]
    # Accepted once, it is demanded from then on.
    daemon.start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "it is accepted")
    for file in trusted.iterdir():
        file.unlink()
    found = examine(daemon)
    assert only(found, "trust")[0] == "failure" and only(found, "server")[0] == "failure"


def held(found):
    """What would hold the release, as (result, what)."""
    return [(result, re.search(r"\(([a-z-]+)\)$", message)[1]) for result, message in found["offer"] if result != "ok"]


RULES = {
    "compatible": ({"Update": {"Compatible": "other"}}, "failure"),
    "max-bytes": ({"Transfer": {"MaxBytesPerUpdate": "100K"}}, "failure"),
    "mode": ({"Update": {"Mode": "check"}}, "warning"),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_offered_is_judged_by_the_rules(nginx, release, file_slots, make_daemon, rule):
    sections, result = RULES[rule]
    daemon = make_daemon(nginx.publish(release), file_slots, **sections)
    assert held(examine(daemon)) == [(result, rule)]
    assert file_slots[1].read_bytes() == b""


def test_an_offer_that_fits_the_budget(nginx, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, Transfer={"MaxBytesPerUpdate": "100M"})
    result, message = only(examine(daemon), "offer")
    assert result == "ok" and "download" in message


def test_an_offer_that_has_expired(nginx, folder, file_slots, make_daemon):
    made = make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1,
                        options=["--created", "2026-01-01T00:00:00Z", "--expires", "2026-01-02T00:00:00Z"])
    assert held(examine(make_daemon(nginx.publish(made), file_slots))) == [("failure", "expired")]


def test_an_offer_by_what_is_remembered(nginx, folder, release, file_slots, make_daemon):
    """A lower serial, and one that failed here; and what is remembered stays as it is, broken or not."""
    two = make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2)
    daemon = make_daemon(nginx.publish(two), file_slots, mode="reboot").start()
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "release 2 runs")
    daemon.post("rollback")
    daemon.wait(lambda status: status["slots"]["a"]["role"] == "active" and status["state"] == "held", "it is rolled back")
    assert held(examine(daemon)) == [("failure", "failed-before")]
    nginx.publish(release)
    assert held(examine(daemon)) == [("failure", "downgrade")]
    assert daemon.stop() == 0
    record = daemon.folder / "state" / "record.json"
    record.write_text(record.read_text()[:-20])
    before = snapshot(folder)
    assert only(examine(daemon), "record")[0] == "failure"
    assert snapshot(folder) == before


def test_an_image_that_is_not_its_manifests(nginx, release, file_slots, make_daemon):
    url = nginx.publish(release)
    with open(release, "ab") as image:
        image.write(b"more")
    daemon = make_daemon(url, file_slots)
    nginx.publish(release)
    result, message = only(examine(daemon), "server-ranges")
    assert result == "failure" and "500004" in message and "500000" in message


def test_a_clock_that_is_behind(nginx, release, file_slots, make_daemon):
    members = releases.read_manifest(release)
    members["moonsinter"]["release"]["created"] = "2099-01-01T00:00:00Z"
    releases.write_manifest(release, members)
    result, message = only(examine(make_daemon(nginx.publish(release), file_slots)), "clock")
    assert result == "failure" and "2099-01-01" in message


def test_health_checks_that_would_fail_a_trial(nginx, folder, release, file_slots, make_daemon):
    url = nginx.publish(release)
    result, message = only(examine(make_daemon(url, file_slots)), "health-checks")
    # A machine that has checks of its own in /etc counts those.
    assert (result, "nothing judges" in message) == ("warning", True) or os.listdir("/etc/moonsinter/health.d")
    checks = folder / "health.d"
    checks.mkdir(mode=0o755)
    (checks / "10-open").write_text("#!/bin/sh\n")
    (checks / "10-open").chmod(0o777)
    result, message = only(examine(make_daemon(url, file_slots, Health={"Checks": checks})), "health-checks")
    assert result == "failure" and "chmod go-w" in message
    (checks / "10-open").chmod(0o644)
    assert ("warning", True) in [(result, "10-open may not be executed, so it judges nothing" in message) for result, message in
                                 examine(make_daemon(url, file_slots, Health={"Checks": checks}))["health-checks"]]
    result, message = only(examine(make_daemon(url, file_slots, Health={"Units": "moonsinter-test-absent.service"})),
                           "health-units")
    assert result == "warning" and "a trial would not pass as things are" in message


def test_a_loader_without_a_way_back_and_a_state_folder_in_memory(nginx, folder, release, file_slots, make_daemon):
    cmdline = folder / "cmdline.txt"
    cmdline.write_text("console=tty1 root=PARTUUID=738a4d67-02 rootwait\n")
    daemon = make_daemon(nginx.publish(release), ("PARTUUID=738a4d67-02", "PARTUUID=738a4d67-03"),
                         Boot={"Backend": "rpi-cmdline", "CmdlineFile": cmdline}, Storage={"StateDirectory": "/dev/shm"})
    found = examine(daemon)
    assert ("warning", True) in [(result, "cannot fall back by itself" in message) for result, message in found["boot-loader"]]
    assert only(found, "running-slot")[0] == "failure" and "cannot be determined" in only(found, "running-slot")[1]
    assert only(found, "state-folder")[0] == "failure" and "tmpfs" in only(found, "state-folder")[1]
    assert "reboot" in found and "watchdog" in found
    daemon.settings["Update"]["Mode"] = "reboot"
    daemon.write_config()
    result, message = only(examine(daemon), "settings")
    assert result == "failure" and "AllowNoFallback=yes" in message


def test_a_state_folder_that_cannot_be_written(nginx, folder, release, file_slots, make_daemon):
    (folder / "file").write_text("")
    daemon = make_daemon(nginx.publish(release), file_slots, Storage={"StateDirectory": folder / "file" / "state"})
    result, message = only(examine(daemon), "state-folder")
    assert result == "failure" and "cannot be written to" in message


def on_partitions(make_daemon, url, folder, slots, state):
    """A daemon of a boot loader, with a state folder that has to outlive a change of slot."""
    cmdline = folder / "cmdline.txt"
    cmdline.write_text(f"console=tty1 root={slots[0]} rootwait\n")
    state.mkdir(exist_ok=True)
    return make_daemon(url, slots, Boot={"Backend": "rpi-cmdline", "CmdlineFile": cmdline}, Storage={"StateDirectory": state})


def test_a_state_folder_on_a_slot(nginx, folder, loops, mount, release, make_daemon):
    """What is remembered would be gone when the other slot runs."""
    slots = [loops.attach(8 << 20, name) for name in ("a", "b")]
    for slot in slots:
        subprocess.run(["mkfs.ext4", "-q", "-F", slot], check=True)
    for slot, name in zip(slots, "ab"):
        daemon = on_partitions(make_daemon, nginx.publish(release), folder, slots, mount(slot) / "state")
        result, message = only(examine(daemon), "state-folder")
        assert result == "failure" and f"lies on slot {name} ({slot})" in message


def test_a_state_folder_on_an_overlay(nginx, folder, loops, mount, release, make_daemon):
    layers = mount("none", "-t", "tmpfs")
    for name in ("lower", "upper", "work"):
        (layers / name).mkdir()
    overlay = mount("none", "-t", "overlay", "-o", f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work")
    slots = [loops.attach(8 << 20, name) for name in ("a", "b")]
    result, message = only(examine(on_partitions(make_daemon, nginx.publish(release), folder, slots, overlay / "state")),
                           "state-folder")
    assert result == "failure" and "overlay" in message


def test_keys_that_others_may_write(nginx, folder, release, file_slots, make_daemon):
    """The device installs nothing until that is mended, so doctor names it as well."""
    trusted = folder / "keys.d"
    trusted.mkdir()
    shutil.copy(keys.Key(folder / "publisher").public, trusted)
    trusted.chmod(0o777)
    result, message = only(examine(make_daemon(nginx.publish(release), file_slots, Trust={"Keys": trusted})), "keys")
    assert result == "failure" and str(trusted) in message and "chmod" in message


def test_what_runs_has_expired(nginx, release, file_slots, make_daemon):
    """Nothing is to be installed, and somebody has to look."""
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot").start()
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it runs")
    assert daemon.stop() == 0
    assert results(examine(daemon), "offer") == ["ok"]
    members = releases.read_manifest(release)
    members["moonsinter"]["release"].update(created="2026-01-01T00:00:00Z", expires="2026-01-02T00:00:00Z")
    releases.write_manifest(release, members)
    nginx.publish(release)
    (ok, _), (failure, message) = examine(daemon)["offer"]
    assert (ok, failure) == ("ok", "failure") and message.endswith("(expired)")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_somebody_who_is_not_root(folder):
    """What is not seen must not look as if it were well."""
    result = subprocess.run([programs.MOONSINTERD, "--doctor", "--config", folder / "absent.conf"], user=65534, group=65534,
                            extra_groups=[], cwd="/", capture_output=True, text=True, check=False)
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    if not findings:
        pytest.skip(f"nobody may run {programs.MOONSINTERD}")
    assert ("privileges", "warning") in [(finding.get("check"), finding.get("result")) for finding in findings]


def test_sentences_on_a_terminal(nginx, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots)
    master, terminal = pty.openpty()
    process = subprocess.Popen([programs.MOONSINTERD, "--doctor", "--config", daemon.config], stdin=terminal, stdout=terminal,
                               stderr=terminal)
    os.close(terminal)
    drawn = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        drawn += data
    os.close(master)
    assert process.wait(10) == 0
    lines = drawn.decode().replace("\r", "").splitlines()
    assert all(re.match(r"(ok|WARNING|FAILURE) +[a-z-]+: \S", line) for line in lines[:-1]), lines
    assert re.fullmatch(r"\d+ ok, \d+ warnings, 0 failures", lines[-1])


def test_without_the_daemons_program(folder):
    result = programs.moonsinter("doctor", env={**os.environ, "MOONSINTERD": str(folder / "absent")})
    sentence = programs.assert_failed(result, str(folder / "absent"), "cannot be run")
    assert "install moonsinterd" in sentence
    assert json.loads(result.stdout.splitlines()[-1])["event"] == "failed"
