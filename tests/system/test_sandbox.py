# SPDX-License-Identifier: MIT
"""What moonsinterd.service may touch, with each backend's drop-in: a probe runs in the service's own sandbox, in its place.
And who may give it orders over the socket, as real users."""
import os
import pathlib

import pytest

import fleet as fleets
import images
from namespaces import SOCKET
from releases import make_release

pytestmark = pytest.mark.namespaces

DROP_INS = "/etc/systemd/system/moonsinterd.service.d"
# Everything any backend writes, and what none does.
PLACES = ["/boot/firmware", "/boot/grub", "/boot", "/run", "/run/lock", "/run/systemd", "/run/systemd/system", "/etc", "/usr",
          "/var", "/srv", "/root"]
OWN = {"/var/lib/moonsinter", "/run/moonsinter"}
BACKENDS = {
    None: set(),
    "rpi-cmdline": {"/boot/firmware"},
    "rpi-tryboot": {"/boot/firmware"},
    "grub": {"/boot/grub"},
    "uboot": {"/run/lock"},
    "systemd-boot": set(),
}
IMMUTABLE = 1 << 9  # CAP_LINUX_IMMUTABLE

PROBE = """#!/bin/sh
for place in "$@"; do
    if touch "$place/probe" 2>/dev/null; then echo "WROTE $place"; rm "$place/probe"; fi
done
sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\|Seccomp\\):\\t/\\1 /p' /proc/self/status
head -c 1 /dev/slot-a >/dev/null 2>&1 && echo OPENED block
head -c 1 /dev/moonsinter-test-char >/dev/null 2>&1 && echo OPENED char
mount -t tmpfs none /srv 2>/dev/null && echo MOUNTED
date -s 2001-01-01 >/dev/null 2>&1 && echo CLOCK
echo "REBOOT $(busctl --system call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager CanReboot)"
chown 1:1 /var/lib/moonsinter/owned 2>/dev/null && echo CHOWNED
exit 0
"""


@pytest.fixture
def system(guest, installed, folder, loops, make_namespaces):
    (folder / "state").mkdir()
    device = loops.attach(1 << 20, "slot-a")
    system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state"},
                             {"/dev/slot-a": os.stat(device).st_rdev}).start()
    for place in ("/run/systemd/system", "/boot/firmware", "/boot/grub", "/run/lock", "/run/moonsinter"):
        system.run("mkdir", "-p", place)
    return system


def probe(system, backend, places):
    """Runs the probe in the sandbox and returns its lines."""
    system.write("/usr/local/bin/probe", PROBE)
    system.run("chmod", "755", "/usr/local/bin/probe")
    system.run("touch", "/var/lib/moonsinter/owned")
    system.write(f"{DROP_INS}/50-probe.conf", "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\n"
                 f"ExecStart=/usr/local/bin/probe {' '.join(places)}\n")
    if backend:
        system.run("ln", "-sf", f"/usr/lib/moonsinter/sandbox/{backend}.conf", f"{DROP_INS}/10-backend.conf")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "moonsinterd.service")
    system.run("journalctl", "--sync")
    told = system.run("journalctl", "-b", "-u", "moonsinterd", "-t", "probe", "-o", "cat", "--no-pager").splitlines()
    assert any(line.startswith("Seccomp ") for line in told), system.journal()
    return told


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_writes_what_its_backend_needs_and_no_more(system, backend):
    told = probe(system, backend, [*PLACES, *sorted(OWN)])
    assert {line.split()[1] for line in told if line.startswith("WROTE")} == BACKENDS[backend] | OWN
    facts = dict(line.split() for line in told if line.split()[0] in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"))
    capabilities = IMMUTABLE if backend == "systemd-boot" else 0
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == capabilities
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert "OPENED block" in told
    # It holds no capability for that: logind knows it for root, over a socket in what it cannot write.
    assert 'REBOOT s "yes"' in told
    for never in ("OPENED char", "MOUNTED", "CLOCK", "CHOWNED"):
        assert never not in told


def test_variables_of_the_firmware_are_opened_within_a_tree_that_is_closed(system):
    """This machine has no EFI, so the drop-in's path stands for another one under /sys, which the unit keeps read-only."""
    text = pathlib.Path(f"/proc/{system.init}/root/usr/lib/moonsinter/sandbox/systemd-boot.conf").read_text()
    system.run("mount", "-t", "tmpfs", "tmpfs", "/sys/kernel")
    system.run("mkdir", "/sys/kernel/variables")
    system.run("mount", "-t", "tmpfs", "tmpfs", "/sys/kernel/variables")
    places = ["/sys/kernel", "/sys/kernel/variables"]
    assert not [line for line in probe(system, None, places) if line.startswith("WROTE")]
    system.write(f"{DROP_INS}/10-backend.conf", text.replace("/sys/firmware/efi/efivars", "/sys/kernel/variables"))
    assert [line for line in probe(system, None, places) if line.startswith("WROTE")] == ["WROTE /sys/kernel/variables"]


# --- who may give orders ------------------------------------------------------------------------------------------

def ask(system, method, path, *as_whom):
    """One request by curl as somebody: the HTTP status, or what curl said."""
    return system.run("setpriv", *as_whom, "curl", "-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-d", "",
                      "--unix-socket", SOCKET, f"http://localhost{path}", check=False).strip()


def test_orders_are_for_root_and_the_group(system):
    nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    gid = next(line for line in system.run("cat", "/etc/group").splitlines() if line.startswith("moonsinter:")).split(":")[2]
    member = ["--reuid=65534", "--regid=65534", f"--groups={gid}"]
    primary = ["--reuid=65534", f"--regid={gid}", "--clear-groups"]
    system.write("/etc/moonsinter/moonsinterd.conf.d/50-test.conf",
                 "[Update]\nUrl=http://127.0.0.1:1/image\nMode=check\n[Slots]\nA=/dev/slot-a\nB=/var/lib/moonsinter/slot-b\n"
                 "[Boot]\nBackend=file\n")
    system.run("touch", "/var/lib/moonsinter/slot-b")
    system.run("systemctl", "start", "moonsinterd.service")
    assert ask(system, "GET", "/v1/status", "--reuid=0") == "200"
    assert ask(system, "POST", "/v1/check", "--reuid=0") == "202"
    for whom in (member, primary):
        assert ask(system, "GET", "/v1/status", *whom) == "200"
        assert ask(system, "POST", "/v1/check", *whom) == "202"
    # Nobody else even gets to the socket, and where an administrator opens it, he may read.
    assert "connect" in ask(system, "GET", "/v1/status", *nobody).lower()
    system.run("chmod", "666", SOCKET)
    assert ask(system, "GET", "/v1/status", *nobody) == "200"
    for order in ("check", "install", "cancel", "reboot", "mark-good", "mark-bad", "rollback"):
        assert ask(system, "POST", f"/v1/{order}", *nobody) == "403"
    others = ["--reuid=65534", "--regid=65534", f"--groups={int(gid) + 1},{int(gid) + 2}"]
    assert ask(system, "POST", "/v1/check", *others) == "403"
    assert system.status()["daemon"]["pid"] > 0


# --- the way to the server ----------------------------------------------------------------------------------------

def test_keys_and_secrets_that_only_root_reads_are_read_without_a_capability(guest, installed, folder, make_nginx, loops,
                                                                             make_namespaces):
    fleet = fleets.Fleet(folder, make_nginx)
    try:
        image = make_release(folder / "release", images.noise(1_000_000, "sandbox"), version="1", serial=1)
        (folder / "state").mkdir()
        nodes = {f"/dev/slot-{name}": os.stat(loops.attach(4 << 20, f"slot-{name}")).st_rdev for name in "ab"}
        system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state"}, nodes).start()
        settings = fleet.settings(Header="@/etc/moonsinter/headers", CaFile="/etc/moonsinter/ca.pem",
                                  ClientCertificate="/etc/moonsinter/device.pem", ClientKey="/etc/moonsinter/device.key")
        for name, source in (("headers", fleet.headers), ("ca.pem", fleet.authority.pem), ("device.pem", fleet.certificate),
                             ("device.key", fleet.key)):
            system.write(f"/etc/moonsinter/{name}", source.read_text())
        system.write("/etc/moonsinter/moonsinterd.conf.d/50-test.conf",
                     f"[Update]\nUrl={fleet.url(image)}\n[Slots]\nA=/dev/slot-a\nB=/dev/slot-b\n[Boot]\nBackend=file\n"
                     "[Transfer]\n" + "".join(f"{key}={value}\n" for key, value in settings.items()))
        system.run("chmod", "-R", "go-rwx", "/etc/moonsinter")
        system.run("systemctl", "start", "moonsinterd.service")
        system.request("POST", "/v1/check")
        status = system.wait(lambda status: status["state"] == "reboot-pending" or status["last_error"], "it is armed")
        assert status["state"] == "reboot-pending", status
        shown = system.run("journalctl", "-b", "-o", "cat", "--no-pager") + system.run("systemctl", "status", "moonsinterd")
        shown += system.run("systemctl", "show", "moonsinterd") + system.run("ps", "axww", "-o", "args")
        assert "moonsinterd" in shown and not [secret for secret in fleets.SECRETS if secret in shown]
    finally:
        fleet.stop()


# --- what leaves the sandbox on purpose ---------------------------------------------------------------------------

def test_a_health_check_is_not_confined_with_the_daemon(guest, installed, folder, nginx, loops, make_namespaces):
    """The service manager starts it as a unit of its own, at the daemon's word from within the sandbox."""
    content = images.noise(3_000_000, "sandbox")
    nginx.publish(make_release(folder / "release", content, version="1", serial=1))
    (folder / "state").mkdir()
    nodes = {f"/dev/slot-{name}": os.stat(loops.attach(4 << 20, f"slot-{name}")).st_rdev for name in "ab"}
    system = make_namespaces(f"{installed}:{guest.tree}", {"/var/lib/moonsinter": folder / "state"}, nodes).start()
    system.write("/etc/moonsinter/moonsinterd.conf.d/50-test.conf",
                 f"[Update]\nUrl={nginx.url('image')}\nMode=reboot\n[Slots]\nA=/dev/slot-a\nB=/dev/slot-b\n[Boot]\nBackend=file\n")
    check = "/etc/moonsinter/health.d/50-check"
    system.write(check, "#!/bin/sh\nset -e\ntouch /srv/checked\ngrep -q '^Seccomp:.0' /proc/self/status\n")
    system.run("chmod", "755", check)
    system.run("systemctl", "start", "moonsinterd.service")
    system.request("POST", "/v1/check")
    status = system.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["slots"]["b"]["state"] != "trial",
                         "the trial is over", timeout=60)
    assert status["slots"]["b"]["state"] == "good" and status["boot"]["next"] == "b", (status, system.journal())
    assert pathlib.Path(f"/proc/{system.init}/root/srv/checked").exists(), "the check ran, and outside"
    system.run("systemctl", "stop", "moonsinterd.service")
    assert not [line for line in probe(system, None, ["/srv"]) if line.startswith("WROTE")], "the daemon itself could not"
