# SPDX-License-Identifier: MIT
"""Trials under a real service manager: health checks as units of their own, boot-complete.target, and logind's say in a
reboot."""
import json
import os
import signal

import pytest

import images
from releases import make_release

pytestmark = pytest.mark.namespaces

SIZE = 4 << 20
DROP_IN = "/etc/moonsinter/moonsinterd.conf.d/50-test.conf"
CHECKS = "/etc/moonsinter/health.d"


@pytest.fixture
def slots(loops):
    """Two loop devices, as the nodes that the systems get."""
    devices = [loops.attach(SIZE, name) for name in ("slot-a", "slot-b")]
    return {f"/dev/slot-{name}": os.stat(device).st_rdev for name, device in zip("ab", devices)}


@pytest.fixture
def system(guest, installed, folder, slots, make_namespaces):
    (folder / "state").mkdir()
    system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state"}, slots).start()
    assert system.run("systemctl", "is-system-running", check=False).strip() == "running", system.journal()
    return system


def publish(nginx, folder, serial):
    nginx.publish(make_release(folder / f"release-{serial}", images.noise(3_000_000, serial), version=str(serial), serial=serial))
    return nginx.url("image")


def configure(system, url, more="", mode="reboot", boot="Backend=file"):
    system.write(DROP_IN, f"[Update]\nUrl={url}\nMode={mode}\nInterval=1h\n[Slots]\nA=/dev/slot-a\nB=/dev/slot-b\n"
                          f"[Boot]\n{boot}\n{more}")


def put_check(system, name, script):
    system.write(f"{CHECKS}/{name}", f"#!/bin/sh\n{script}\n")
    system.run("chmod", "755", f"{CHECKS}/{name}")


def put_unit(system, name, text):
    system.write(f"/etc/systemd/system/{name}", text)
    system.run("systemctl", "daemon-reload")


def start(system):
    system.run("systemctl", "start", "moonsinterd.service")
    assert system.request("POST", "/v1/check")[0] == 202


def is_kept(status):
    return status["slots"]["b"]["role"] == "active" and status["slots"]["b"]["state"] == "good" and status["state"] == "idle"


def fell_back(status):
    return status["slots"]["a"]["role"] == "active" and status["slots"]["b"]["state"] == "bad" and status["state"] != "reboot-pending"


def test_checks_run_outside_of_the_sandbox(system, nginx, folder):
    """As units with a cgroup of their own and root's capabilities, without the daemon's read-only view; ended with it."""
    put_check(system, "10-look", "cat /proc/self/cgroup; grep CapEff /proc/self/status; touch /etc/written && echo wrote /etc; exit 3")
    configure(system, publish(nginx, folder, 1))
    start(system)
    status = system.wait(fell_back, "it falls back")
    assert status["last_update"]["reason"] == "health check 10-look failed with exit status 3"
    output = status["last_update"]["output"]
    assert "run-" in output and "moonsinterd.service" not in output and "wrote /etc" in output
    capabilities = next(line.split()[1] for line in output.splitlines() if line.startswith("CapEff"))
    assert int(capabilities, 16) & 1 << 21, "CAP_SYS_ADMIN"
    assert "| wrote /etc" in system.run("journalctl", "-u", "moonsinterd", "-o", "cat", "--no-pager")


def test_programs_need_the_system_bus(system):
    put_check(system, "10-fine", "exit 0")
    configure(system, "http://127.0.0.1:1/image")
    assert "needs the D-Bus" not in system.run("moonsinter", "doctor", check=False)
    system.run("systemctl", "stop", "dbus.socket", "dbus.service")
    system.run("rm", "-f", "/run/dbus/system_bus_socket")
    system.run("rm", "/usr/bin/systemd-run")
    told = system.run("moonsinter", "doctor", check=False)
    assert "needs the D-Bus system bus" in told and "by systemd-run, which is not installed" in told


def test_a_check_that_hangs_is_ended_by_the_manager_too(system, nginx, folder):
    put_check(system, "10-hangs", "echo it waits; exec sleep 1000")
    configure(system, publish(nginx, folder, 1), "[Health]\nTimeout=2s\n")
    start(system)
    status = system.wait(fell_back, "it falls back")
    assert status["last_update"]["reason"].startswith("after 2.0s health check 10-hangs")
    assert status["last_update"]["output"] == "it waits"

    def left():
        return system.run("systemctl", "list-units", "--no-legend", "--plain", "run-*.service", check=False).strip()
    system.wait_until(left, lambda text: "run-" not in text, "no unit is left")


def test_a_check_is_stopped_with_the_service(system, nginx, folder):
    put_check(system, "10-hangs", "exec sleep 1000")
    configure(system, publish(nginx, folder, 1))
    start(system)
    system.wait(lambda status: status["state"] == "trial", "it is on trial")

    def units():
        return system.run("systemctl", "list-units", "--no-legend", "--plain", "run-*.service", check=False).strip()
    told = system.wait_until(units, lambda text: "moonsinter health check" in text, "the check is a unit")
    assert told.count("\n") == 0
    system.run("systemctl", "stop", "moonsinterd.service")
    system.wait_until(units, lambda text: "run-" not in text, "it is stopped, too")


def test_units_decide(system, nginx, folder):
    put_unit(system, "good.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n")
    put_unit(system, "slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sh -c 'until [ -e /run/go ]; do sleep 0.1; done'\n")
    put_unit(system, "bad.service", "[Service]\nExecStart=false\n")
    url = publish(nginx, folder, 1)
    configure(system, url, "[Health]\nUnits=good.service slow.service\n")
    system.run("systemctl", "start", "good.service")
    system.run("systemctl", "start", "--no-block", "slow.service")
    start(system)
    status = system.wait(lambda status: status["state"] == "trial" and "slow.service" in str(status["blocked_by"]), "it waits")
    assert "activating" in str(status["blocked_by"])
    system.run("touch", "/run/go")
    system.wait(is_kept, "it is kept")
    system.run("systemctl", "start", "--no-block", "bad.service")
    system.wait_until(lambda: system.run("systemctl", "is-active", "bad.service", check=False).strip(),
                      lambda text: text == "failed", "it fails")
    publish(nginx, folder, 2)
    configure(system, url, "[Health]\nUnits=good.service bad.service\n")
    system.run("systemctl", "reload", "moonsinterd.service")
    system.request("POST", "/v1/check")
    status = system.wait(lambda status: status["slots"]["a"]["state"] == "bad" and status["state"] != "reboot-pending", "it falls back")
    assert status["last_update"]["reason"] == "the unit bad.service has failed"


def test_our_verdict_decides_about_boot_complete(system, nginx, folder):
    put_check(system, "10-waits", "until [ -e /run/go ]; do sleep 0.1; done")
    configure(system, publish(nginx, folder, 1))
    start(system)
    system.wait(lambda status: status["state"] == "trial", "it is on trial")
    system.run("systemctl", "enable", "moonsinter-verdict.service")
    system.run("systemctl", "start", "--no-block", "boot-complete.target")
    system.wait_until(lambda: system.run("systemctl", "is-active", "moonsinter-verdict.service", check=False).strip(),
                      lambda text: text == "activating", "the verdict is waited for")
    assert system.run("systemctl", "is-active", "boot-complete.target", check=False).strip() == "inactive"
    # A daemon that is started anew goes on with the trial, and so does who waits for it.
    system.run("systemctl", "restart", "moonsinterd.service")
    system.wait(lambda status: status["state"] == "trial", "it is on trial again")
    assert system.run("systemctl", "is-active", "moonsinter-verdict.service", check=False).strip() == "activating"
    system.run("touch", "/run/go")
    system.wait_until(lambda: system.run("systemctl", "is-active", "boot-complete.target", check=False).strip(),
                      lambda text: text == "active", "the boot is complete")
    system.wait(is_kept, "and the slot is kept")


def test_boot_complete_decides_about_our_verdict(system, nginx, folder):
    put_unit(system, "judge.service", "[Unit]\nBefore=boot-complete.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
                                      "ExecStart=test -e /run/fine\n[Install]\nRequiredBy=boot-complete.target\n")
    system.run("systemctl", "enable", "judge.service")
    system.run("systemctl", "add-wants", "moonsinterd.service", "boot-complete.target")
    configure(system, publish(nginx, folder, 1), "[Health]\nUnits=boot-complete.target\nTimeout=2s\n")
    start(system)
    status = system.wait(fell_back, "it falls back")
    assert status["last_update"]["reason"] == "after 2.0s the unit boot-complete.target is not active but inactive"
    system.run("touch", "/run/fine")
    system.run("systemctl", "restart", "boot-complete.target")
    system.request("POST", "/v1/install")
    system.wait(is_kept, "it is kept")
    # With both ways at once nothing could pass, which the doctor sees.
    system.run("systemctl", "enable", "moonsinter-verdict.service")
    told = system.run("moonsinter", "doctor", check=False)
    assert '"check":"boot-complete","result":"failure"' in told


def believe(system, slot, drop_in):
    """Has moonsinterd believe that the loader has started `slot`: the service, whose sandbox has a /proc of its own, and the
    rest of the system."""
    system.write("/run/cmdline", f"BOOT_IMAGE=/boot/vmlinuz root=/dev/slot-{slot} ro moonsinter.slot={slot}\n")
    system.run("mount", "--bind", "/run/cmdline", "/proc/cmdline")
    system.write("/etc/systemd/system/moonsinterd.service.d/50-test.conf",
                 "[Service]\nBindReadOnlyPaths=/run/cmdline:/proc/cmdline\n")
    system.run("ln", "-s", f"/usr/lib/moonsinter/sandbox/{drop_in}",
               "/etc/systemd/system/moonsinterd.service.d/10-backend.conf")
    system.run("systemctl", "daemon-reload")


@pytest.fixture
def make_grub_system(guest, installed, folder, slots, make_namespaces):
    """make_grub_system(slot, NAME=VALUE...): a system of which moonsinterd believes that GRUB has started it from `slot`. The
    next one that is made finds what the last one left of state and grubenv."""
    def make(slot, *variables):
        (folder / "state").mkdir(exist_ok=True)
        (folder / "grub").mkdir(exist_ok=True)
        system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state",
                                                               "/boot/grub": folder / "grub"}, slots).start()
        if not (folder / "grub" / "grubenv").exists():
            system.run("grub-editenv", "/boot/grub/grubenv", "create")
        for variable in variables:
            system.run("grub-editenv", "/boot/grub/grubenv", "set", variable)
        believe(system, slot, "grub.conf")
        return system
    return make


GRUB = "Backend=grub\nGrubenvFile=/boot/grub/grubenv"


def hold_off(system):
    system.run("systemd-run", "--unit=flash", "systemd-inhibit", "--what=shutdown", "--mode=block", "--who=Flasher",
               "--why=the camera's firmware is written", "sleep", "1000")
    system.wait_until(lambda: system.run("systemd-inhibit", "--list", "--no-pager"), lambda text: "Flasher" in text, "it is held off")


def test_the_reboot_is_loginds_and_waits_for_who_holds_it_off(make_grub_system, nginx, folder):
    system = make_grub_system("a")
    configure(system, publish(nginx, folder, 1), boot=GRUB)
    hold_off(system)
    start(system)
    status = system.wait(lambda status: status["state"] == "reboot-pending" and status["blocked_by"], "it waits")
    (block,) = status["blocked_by"]
    assert block["what"] == "inhibitor" and "Flasher" in block["why"] and "the camera's firmware is written" in block["why"]
    assert '"check":"reboot","result":"warning"' in system.run("moonsinter", "doctor", check=False)
    # An operator is told, too, and does not run it over.
    assert system.request("POST", "/v1/reboot")[0] == 202
    status = system.wait(lambda status: status["last_error"] and "Flasher" in status["last_error"]["message"], "it is refused")
    assert status["state"] == "reboot-pending"
    system.run("systemctl", "stop", "flash.service")
    # New settings are a reason to look again at once.
    system.run("systemctl", "reload", "moonsinterd.service", check=False)
    assert system.wait_end() == -signal.SIGHUP
    assert json.loads((folder / "state" / "record.json").read_text())["trial"]["stage"] == "armed"
    assert "moonsinter_order=B A\n" in (folder / "grub" / "grubenv").read_text()


def test_falling_back_waits_for_nobody(make_grub_system, folder):
    """A slot that GRUB tries, and that fails its check: back it goes, whatever holds off shutdowns in it."""
    system = make_grub_system("b", "moonsinter_order=B A", "moonsinter_A_ok=1", "moonsinter_A_left=0",
                              "moonsinter_B_ok=0", "moonsinter_B_left=2")
    put_check(system, "10-bad", "echo the camera does not answer; exit 1")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install", more="[Reboot]\nWindow=Mon 00:00-00:01\n")
    hold_off(system)
    system.run("systemctl", "start", "--no-block", "moonsinterd.service")
    assert system.wait_end() == -signal.SIGHUP
    assert "moonsinter_order=A B\n" in (folder / "grub" / "grubenv").read_text()
    record = json.loads((folder / "state" / "record.json").read_text())
    assert record["trial"]["stage"] == "rejected" and record["slots"]["b"]["state"] == "bad"
    assert record["history"][-1]["reason"] == "health check 10-bad failed with exit status 1"
    assert record["history"][-1]["output"] == "the camera does not answer"


@pytest.mark.parametrize("logind", ["masked", pytest.param("broken", marks=pytest.mark.full)])
def test_falling_back_does_not_need_logind(logind, make_grub_system, folder):
    """It may be what is wrong with the release."""
    system = make_grub_system("b", "moonsinter_order=B A", "moonsinter_A_ok=1", "moonsinter_A_left=0",
                              "moonsinter_B_ok=0", "moonsinter_B_left=2")
    put_check(system, "10-bad", "exit 1")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install")
    system.run("systemctl", "stop", "systemd-logind.service")
    if logind == "masked":
        system.run("systemctl", "mask", "--runtime", "systemd-logind.service")
    else:
        put_unit(system, "systemd-logind.service.d/broken.conf", "[Service]\nExecStart=\nExecStart=false\n")
    system.run("systemctl", "start", "--no-block", "moonsinterd.service")
    assert system.wait_end() == -signal.SIGHUP
    assert "moonsinter_order=A B\n" in (folder / "grub" / "grubenv").read_text()


def test_falling_back_goes_on_after_the_daemon_was_killed(make_grub_system, folder):
    """After the verdict, and before the reboot, which fails: killed, started anew, killed again. Then the reboot comes."""
    system = make_grub_system("b", "moonsinter_order=B A", "moonsinter_A_ok=1", "moonsinter_A_left=0",
                              "moonsinter_B_ok=0", "moonsinter_B_left=2")
    put_check(system, "10-bad", "echo the camera does not answer; exit 1")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install")
    system.write("/etc/systemd/system/moonsinterd.service.d/51-soon.conf", "[Service]\nRestartSec=100ms\n")
    system.run("systemctl", "mask", "--runtime", "reboot.target")
    system.run("systemctl", "start", "moonsinterd.service")

    def log():
        return system.run("journalctl", "-u", "moonsinterd", "-o", "cat", "--no-pager")
    for number in range(1, 4):
        system.wait_until(log, lambda text, number=number: text.count("reboot failed: ") == number, "it tries to reboot")
        assert "moonsinter_order=A B\n" in (folder / "grub" / "grubenv").read_text()
        os.kill(system.pid_here(), signal.SIGKILL)
    system.run("systemctl", "unmask", "--runtime", "reboot.target")
    assert system.wait_end() == -signal.SIGHUP
    system = make_grub_system("a")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install")
    system.run("systemctl", "start", "moonsinterd.service")
    status = system.wait(lambda status: status["state"] == "idle", "slot A runs")
    assert status["slots"]["a"]["role"] == "active" and status["slots"]["b"]["state"] == "bad"
    history = system.request("GET", "/v1/history")[1]["history"]
    assert [entry["result"] for entry in history] == ["fell-back"]
    assert history[0]["reason"] == "health check 10-bad failed with exit status 1"
    assert history[0]["output"] == "the camera does not answer"


def test_a_slot_in_which_the_daemon_ends_again_and_again_is_left(make_grub_system, folder):
    system = make_grub_system("b", "moonsinter_order=B A", "moonsinter_A_ok=1", "moonsinter_A_left=0",
                              "moonsinter_B_ok=0", "moonsinter_B_left=2")
    put_check(system, "10-hangs", "exec sleep 1000")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install")
    system.write("/etc/systemd/system/moonsinterd.service.d/51-soon.conf", "[Service]\nRestartSec=100ms\n")
    system.run("systemctl", "start", "moonsinterd.service")
    pid = 0

    def wait_for_another():
        status = system.wait(lambda status: status["daemon"]["pid"] != pid and "10-hangs" in str(status["blocked_by"]),
                             "the trial goes on")
        return status["daemon"]["pid"]
    # Whoever restarts it says nothing against the release.
    pid = wait_for_another()
    system.run("systemctl", "restart", "moonsinterd.service")
    for _ in range(3):
        pid = wait_for_another()
        os.kill(system.pid_here(), signal.SIGKILL)
    assert system.wait_end() == -signal.SIGHUP
    record = json.loads((folder / "state" / "record.json").read_text())
    assert record["slots"]["b"]["state"] == "bad" and "moonsinter_order=A B\n" in (folder / "grub" / "grubenv").read_text()
    assert record["history"][-1]["reason"] == "moonsinterd ended again and again during the trial"


def test_a_slot_whose_daemon_does_not_start_is_left(system):
    """The drop-in that docs/health.md tells of, with less patience."""
    system.write("/etc/systemd/system/moonsinter-verdict.service.d/leave.conf",
                 "[Unit]\nFailureAction=reboot\n[Service]\nTimeoutStartSec=2s\n")
    system.write(DROP_IN, "[Update]\nUlr=http://127.0.0.1:1/image\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "--no-block", "moonsinter-verdict.service")
    assert system.wait_end() == -signal.SIGHUP


@pytest.mark.parametrize("argument, tried", [([], False), (["--reboot-argument=0 tryboot"], True)], ids=["plain", "tryboot"])
def test_what_a_raspberry_pis_firmware_was_told_is_noted(argument, tried, guest, installed, folder, slots, nginx,
                                                         make_namespaces):
    """By others than us, too: without it, an old slot that comes up is no trial that failed."""
    for name in ("state", "firmware"):
        (folder / name).mkdir()
    (folder / "firmware" / "autoboot.txt").write_text("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2\n"
                                                      "# moonsinter: armed in boot 00000000\n")
    system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state",
                                                           "/boot/firmware": folder / "firmware"}, slots).start()
    believe(system, "a", "rpi-tryboot.conf")
    configure(system, publish(nginx, folder, 1), boot="Backend=rpi-tryboot", mode="install")
    start(system)
    system.wait(lambda status: status["state"] == "reboot-pending" and status["blocked_by"], "it is armed")
    assert '--reboot-argument="0 tryboot"' in system.run("moonsinter", "why")
    # Ours is refused here, for logind takes no argument in what it sees as a container; it leaves no note behind.
    assert system.request("POST", "/v1/reboot")[0] == 202
    system.wait(lambda status: status["last_error"] and "argument" in status["last_error"]["message"], "it is refused")
    system.run("systemctl", "reboot", *argument, check=False)
    assert system.wait_end() == -signal.SIGHUP
    trial = json.loads((folder / "state" / "record.json").read_text())["trial"]
    assert (trial["stage"], trial.get("reboot_asked", False)) == ("armed", tried)


@pytest.mark.full
@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_falling_back_does_not_need_the_state_folder(trouble, make_grub_system, folder):
    """What failed cannot be written down then; the way back comes first."""
    system = make_grub_system("b", "moonsinter_order=B A", "moonsinter_A_ok=1", "moonsinter_A_left=0",
                              "moonsinter_B_ok=0", "moonsinter_B_left=2")
    put_check(system, "10-bad", "exit 1")
    configure(system, "http://127.0.0.1:1/image", boot=GRUB, mode="install")
    if trouble == "full":
        system.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/srv")
        system.run("dd", "if=/dev/zero", "of=/srv/full", check=False)
        system.run("mkdir", "/srv/state")
        assert "No space left" in system.run("cp", "/etc/passwd", "/srv/state/record.json", check=False)
        system.run("rm", "/srv/state/record.json")
        system.write("/etc/moonsinter/moonsinterd.conf.d/60-state.conf", "[Storage]\nStateDirectory=/srv/state\n")
        put_unit(system, "moonsinterd.service.d/60-state.conf", "[Service]\nReadWritePaths=/srv\n")
    else:
        system.run("mount", "-o", "remount,bind,ro", "/var/lib/moonsinter")
    system.run("systemctl", "start", "--no-block", "moonsinterd.service")
    assert system.wait_end() == -signal.SIGHUP
    assert "moonsinter_order=A B\n" in (folder / "grub" / "grubenv").read_text()
