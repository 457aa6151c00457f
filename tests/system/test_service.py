# SPDX-License-Identifier: MIT
"""moonsinterd as a service: the shipped units under a systemd that is PID 1 of its own system."""
import json
import os
import pathlib
import signal
import stat

import pytest

import images
from guest_tree import run
from namespaces import SOCKET
from releases import make_release

pytestmark = pytest.mark.namespaces

SIZE = 4 << 20
DROP_IN = "/etc/moonsinter/moonsinterd.conf.d/50-test.conf"
UNIT_DROP_IN = "/etc/systemd/system/moonsinterd.service.d/50-test.conf"


def settings(url, mode="install", interval="1h"):
    return (f"[Update]\nUrl={url}\nMode={mode}\nInterval={interval}\n[Slots]\nA=/dev/slot-a\nB=/dev/slot-b\n"
            "[Boot]\nBackend=file\n")


@pytest.fixture
def slots(loops):
    """Two loop devices, as the nodes that the systems get."""
    devices = [loops.attach(SIZE, name) for name in ("slot-a", "slot-b")]
    return {f"/dev/slot-{name}": os.stat(device).st_rdev for name, device in zip("ab", devices)}


@pytest.fixture
def system(guest, installed, folder, nginx, slots, make_namespaces):
    """A system that is up, configured, and has not started moonsinterd yet."""
    (folder / "state").mkdir()
    system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state"}, slots).start()
    assert system.run("systemctl", "is-system-running", check=False).strip() == "running", system.journal()
    system.write(DROP_IN, settings(nginx.url("image")))
    return system


def publish(nginx, folder, serial, size=3_000_000):
    """A release of noise; returns its bytes."""
    content = images.noise(size, serial)
    nginx.publish(make_release(folder / f"release-{serial}", content, version=str(serial), serial=serial))
    return content


def start(system):
    """Starts the service and has it look at the server now, not when its timer says."""
    system.run("systemctl", "start", "moonsinterd.service")
    assert system.request("POST", "/v1/check")[0] == 202


def is_armed(status):
    return status["state"] == "reboot-pending" and status["boot"]["next"] == "b"


def test_started_means_that_the_api_answers(system):
    system.run("systemctl", "start", "moonsinterd.service")
    # No waiting: systemctl has returned, so READY=1 was sent, so it listens.
    status = system.status()
    told = system.unit("ActiveState", "SubState", "Type", "NotifyAccess", "MainPID", "StatusText")
    assert (told["ActiveState"], told["SubState"], told["Type"]) == ("active", "running", "notify")
    assert int(told["MainPID"]) == status["daemon"]["pid"] and told["StatusText"]


def test_settings_that_are_wrong_fail_the_start(system):
    system.write(DROP_IN, "[Update]\nUlr=http://localhost/image\n")
    told = system.run("systemctl", "start", "moonsinterd.service", check=False)
    assert "failed" in told
    assert system.unit("ActiveState") in ("activating", "failed")
    assert "Ulr" in system.run("journalctl", "-u", "moonsinterd", "-o", "cat", "--no-pager")


def test_reload(system, nginx):
    # Not every image has it.
    system.run("rm", "/usr/bin/kill")
    system.run("systemctl", "start", "moonsinterd.service")
    pid = system.unit("MainPID")
    system.write(DROP_IN, settings(nginx.url("image"), interval="17min"))
    system.run("systemctl", "reload", "moonsinterd.service")

    def interval():
        return json.dumps(system.request("GET", "/v1/config")[1])
    system.wait_until(interval, lambda text: "17min" in text, "the new interval is in force")
    assert system.unit("MainPID") == pid and system.unit("ActiveState") == "active"


def test_a_hung_daemon_is_restarted(system):
    """The watchdog, in seconds instead of the half minute that the unit gives it."""
    system.write(UNIT_DROP_IN, "[Service]\nWatchdogSec=1s\nRestartSec=100ms\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "moonsinterd.service")
    before = system.status()["daemon"]["pid"]
    os.kill(system.pid_here(), signal.SIGSTOP)
    after = system.wait(lambda status: status["daemon"]["pid"] != before, "another one answers")
    assert system.unit("NRestarts") == "1" and int(system.unit("MainPID")) == after["daemon"]["pid"]
    assert "watchdog" in system.run("journalctl", "-b", "-u", "moonsinterd", "-o", "cat", "--no-pager").lower()
    # One that turns is left alone: for three times its deadline.
    system.run("sleep", "3")
    assert system.unit("NRestarts") == "1"


def test_socket_activation(system):
    system.run("systemctl", "start", "moonsinterd.socket")
    assert system.unit("ActiveState") == "inactive"
    socket = pathlib.Path(f"/proc/{system.init}/root{SOCKET}")
    group = next(line for line in system.run("cat", "/etc/group").splitlines() if line.startswith("moonsinter:"))
    info = socket.stat()
    assert stat.S_IMODE(info.st_mode) == 0o660 and (info.st_uid, info.st_gid) == (0, int(group.split(":")[2]))
    # The connection starts it, and is answered by it.
    status = system.status()
    assert system.unit("ActiveState") == "active" and int(system.unit("MainPID")) == status["daemon"]["pid"]
    # Over a restart the socket stays, so nobody is turned away.
    system.run("systemctl", "restart", "--no-block", "moonsinterd.service")
    assert socket.stat().st_ino == info.st_ino
    system.wait(lambda new: new["daemon"]["pid"] != status["daemon"]["pid"], "the new one answers", interval=0)
    assert socket.stat().st_ino == info.st_ino


def test_an_update_runs_in_the_sandbox(system, nginx, folder, loops):
    content = publish(nginx, folder, 1)
    start(system)
    system.wait(is_armed, "release 1 is armed")
    assert loops.backing(loops.attached[1][0]).read_bytes()[:len(content)] == content
    pid = system.pid_here()
    told = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
    assert told["NoNewPrivs"] == "1" and told["Seccomp"] == "2"
    # What it sees of the system cannot be written, but for its own folders.
    view = pathlib.Path(f"/proc/{pid}/root")
    for place in ("etc", "usr", "var"):
        with pytest.raises(OSError):
            (view / place / "written").touch()
    (view / "var/lib/moonsinter/written").touch()


def test_a_device_that_the_unit_does_not_allow(system, nginx, folder, loops):
    """The narrowing that the unit's comment describes."""
    publish(nginx, folder, 1)
    system.write(UNIT_DROP_IN, "[Service]\nDeviceAllow=\nDeviceAllow=/dev/slot-a rw\n")
    system.run("systemctl", "daemon-reload")
    start(system)
    status = system.wait(lambda status: status["last_error"] or is_armed(status), "an error or success")
    if is_armed(status):
        pytest.skip("this machine's control groups do not enforce DevicePolicy=")
    assert "/dev/slot-b" in status["last_error"]["message"]
    assert "permi" in status["last_error"]["message"].lower()
    assert not any(loops.backing(loops.attached[1][0]).read_bytes())


def test_killed_in_mid_update_it_is_restarted_and_goes_on(system, make_nginx, folder):
    slow = make_nginx("limit_rate 400k;")
    publish(slow, folder, 1)
    system.write(DROP_IN, settings(slow.url("image")) + "[Transfer]\nConnections=1\n")
    system.write(UNIT_DROP_IN, "[Service]\nRestartSec=100ms\nMemoryMax=64M\n")
    system.run("systemctl", "daemon-reload")
    start(system)
    system.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 1_000_000, "it is under way")
    os.kill(system.pid_here(), signal.SIGKILL)
    system.wait_until(lambda: system.unit("NRestarts"), lambda count: count == "1", "it is restarted")
    system.wait_until(lambda: system.request("POST", "/v1/check")[0], lambda code: code == 202, "it answers again")
    status = system.wait(is_armed, "the one that was started after it finishes")
    assert system.unit("NRestarts") == "1"
    assert status["last_update"]["bytes_downloaded"] < 2_700_000


def test_stopped_in_mid_update_it_stops_at_once(system, make_nginx, folder):
    slow = make_nginx("limit_rate 100k;")
    publish(slow, folder, 1)
    system.write(DROP_IN, settings(slow.url("image")))
    start(system)
    system.wait(lambda status: status["state"] == "installing" and
                status["update"]["progress"]["bytes_downloaded"] > 100_000, "it is under way")
    system.run("systemctl", "stop", "moonsinterd.service", timeout=10)
    assert system.unit("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}


# --- from slot to slot ------------------------------------------------------------------------------------------

SLOT = 64 << 20


def make_system_image(folder, guest, installed, version, url):
    """A squashfs of a whole system that follows `url`, has moonsinterd enabled and knows its version."""
    layer = folder / f"layer-{version}"
    etc = layer / "etc"
    wants = etc / "systemd" / "system" / "multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "moonsinterd.service").symlink_to("/lib/systemd/system/moonsinterd.service")
    (etc / "moonsinter" / "moonsinterd.conf.d").mkdir(parents=True)
    (etc / "moonsinter" / "moonsinterd.conf.d" / "50-test.conf").write_text(settings(url))
    (etc / "image-version").write_text(version)
    image = folder / f"system-{version}.squashfs"
    # Later sources are merged into earlier ones, so all of them are laid over each other first.
    stage = folder / f"stage-{version}"
    stage.mkdir()
    run("unshare", "--mount", "sh", "-c",
        'mount -t overlay -o "lowerdir=$1" root "$2" && mksquashfs "$2" "$3" -comp lz4 -noappend -no-progress -quiet',
        "sh", f"{layer}:{installed}:{guest.tree}", stage, image)
    return image


def loader(state):
    """What a loader that knows the `file` backend's selection would start: a or b."""
    path = state / "boot-selection.json"
    if not path.exists():
        return "a"
    selection = json.loads(path.read_text())
    return selection["trial"] if selection["trial"] and selection["tries_left"] else selection["selected"]


def test_from_a_to_b_to_a(guest, installed, folder, nginx, loops, make_namespaces):
    """Three releases, each a whole system that is booted from its slot and brings the next one."""
    state = folder / "state"
    state.mkdir()
    url = nginx.url("image")
    first = make_system_image(folder, guest, installed, "1", url)
    devices = dict(zip("ab", (loops.attach(SLOT, "slot-a"), loops.attach(SLOT, "slot-b"))))
    run("dd", f"if={first}", f"of={devices['a']}", "bs=1M", "conv=fsync")
    nodes = {f"/dev/slot-{name}": os.stat(device).st_rdev for name, device in devices.items()}
    ran = []
    for version, slot in (("1", "a"), ("2", "b"), ("3", "a")):
        assert loader(state) == slot
        system = make_namespaces(devices[slot], {"/var/lib/moonsinter": state}, nodes).start()
        ran.append(system.run("cat", "/etc/image-version"))
        status = system.wait(lambda status: status["state"] in ("idle", "reboot-pending"), "it is settled")
        assert status["slots"][slot]["role"] == "active" and status["slots"][slot]["state"] == "good"
        following = str(int(version) + 1)
        release = folder / f"release-{following}"
        nginx.publish(make_release(release, make_system_image(folder, guest, installed, following, url),
                                   version=following, serial=int(following)))
        system.request("POST", "/v1/check")
        status = system.wait(lambda status: status["state"] == "reboot-pending", f"release {following} is armed")
        assert status["update"]["version"] == following and not status["last_error"]
        system.reboot()
    assert ran == ["1", "2", "3"]
