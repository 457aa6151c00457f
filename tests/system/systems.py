# SPDX-License-Identifier: MIT
"""Releases of a whole system: ext4 images that a slot can hold, with kernel, initrd, systemd and our programs. One image is
made of the tree; the others are copies in which files were exchanged, which takes a fraction of a second."""
import pathlib
import subprocess

import images
from guest_tree import run
from machine import HOST

# A kernel that gives up starts again at once, and names are as the kernel gives them. On a busy host the emulated timer is
# too late for the kernel's check of it. Nor is there a watchdog but where one is wanted: it would end what is only slow.
KERNEL_OPTIONS = "ro rootwait panic=1 no_timer_check quiet console=ttyS0 net.ifnames=0 systemd.show_status=0"

NETWORK = """[Unit]
BindsTo=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=busybox ip link set eth0 up
ExecStart=busybox ip address add 10.0.2.15/24 dev eth0
"""
# The shell's standard error is closed, so that dash is not interactive; shells ignore TERM.
SHELL = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'stty -F /dev/ttyS1 -echo raw; exec /bin/sh </dev/ttyS1 >/dev/ttyS1 2>/dev/null'
Restart=always
RestartSec=0
KillSignal=SIGKILL
"""
# On a terminal, which the port is, watch would write for people.
EVENTS = """[Unit]
After=moonsinterd.service
[Service]
ExecStart=/bin/sh -c 'stty -F /dev/ttyS2 raw; moonsinter watch | cat >/dev/ttyS2'
Restart=always
RestartSec=200ms
StartLimitIntervalSec=0
KillSignal=SIGKILL
"""
UP = """[Unit]
After=basic.target
[Service]
Type=oneshot
RemainAfterExit=yes
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'read version </etc/image-version; for word in $$(cat /proc/cmdline); do case $$word in root=*root-[ab]) slot=$${word##*-};; esac; done; echo "system $$version is up in slot $$slot"'
"""
# On a busy host a disk may take longer than systemd's ninety seconds to appear, and a machine in emergency mode stands still.
PATIENT = """[Manager]
DefaultDeviceTimeoutSec=15min
DefaultTimeoutStartSec=15min
DefaultTimeoutStopSec=15min
"""
UNITS = {"network.service": NETWORK, "shell.service": SHELL, "events.service": EVENTS, "up.service": UP}


class NoGood:
    """A release that is no good: the `files` that make it so, what the console `shows` of each try, whether it `stands_still`
    until somebody pulls the plug, and what is told afterwards: a word of the `reason`, and the `output` of a health check."""

    def __init__(self, files, reason, tries=2, shows=None, output=None, stands_still=False):
        self.files, self.reason, self.tries = files, reason, tries
        self.shows, self.output, self.stands_still = shows, output, stands_still


SYSTEMD = "/usr/lib/systemd/systemd"
# systemd handles a crash of its own by standing still, and feeds the watchdog no more. In the place of a unit that multi-user.target
# wants, but started before all others.
CRASH = """[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo PID 1 crashes >/dev/console; kill -SEGV 1'
"""
NO_GOOD = {
    # Comes up, and finds itself unfit: sent back at once, no second try.
    "health": NoGood({"/etc/moonsinter/health.d/50-pump": "#!/bin/sh\necho asking the pump\necho the pump does not answer >&2\nexit 7\n"},
                     "health check 50-pump failed with exit status 7", tries=1,
                     output="asking the pump\nthe pump does not answer"),
    # PID 1 ends, and the kernel with it.
    "panic": NoGood({SYSTEMD: "#!/bin/sh\nexit 1\n"}, "never came up", shows="Kernel panic - not syncing: Attempted to kill init"),
    # PID 1 hangs when the watchdog runs.
    "hang": NoGood({"/etc/systemd/system/network.service": CRASH,
                    "/etc/systemd/system.conf.d/60-watchdog.conf": "[Manager]\nRuntimeWatchdogSec=30\n"}, "never came up",
                   shows=r"PID 1 crashes[\s\S]*softdog: Initiating system reboot"),
    # PID 1 hangs before anybody has opened the watchdog.
    "stuck": NoGood({SYSTEMD: "#!/bin/sh\necho init hangs >/dev/console\nexec sleep infinity\n"}, "never came up",
                    shows="init hangs", stands_still=True),
}


def settings(port, backend, mode="reboot", boot_keys="", update_keys="", parts=None, slots="PARTLABEL="):
    """What moonsinterd in a guest is told. `parts`: name of a part -> its places in slot A and B. `slots`: what stands before
    root-a and root-b."""
    sections = "".join(f"[Part {name}]\nA={a}\nB={b}\n" for name, (a, b) in (parts or {}).items())
    return (f"[Update]\nUrl=http://{HOST}:{port}/image\nInterval=1h\nMode={mode}\n{update_keys}[Slots]\nA={slots}root-a\nB={slots}root-b\n{sections}"
            f"[Boot]\nBackend={backend}\n{boot_keys}[Transfer]\nStallTimeout=60s\n")


class Systems:
    """Images of one layout: `fstab` and the daemon's `settings` are in all of them. `with_kernel`: the kernel is in them, and
    not beside the slots."""

    def __init__(self, folder, guest, installed, size_mib, fstab, backend, settings_text, unit_drop_in="", with_kernel=True):
        self.folder, self.size_mib, self.count = pathlib.Path(folder), size_mib, 0
        self.guest, self.installed, self.with_kernel, self.bases = guest, installed, with_kernel, {}
        self.folder.mkdir(parents=True, exist_ok=True)
        layer = self.folder / "layer"
        units = layer / "etc" / "systemd" / "system"
        wants = units / "multi-user.target.wants"
        wants.mkdir(parents=True)
        for name, text in UNITS.items():
            (units / name).write_text(text)
            (wants / name).symlink_to(f"/etc/systemd/system/{name}")
        (wants / "moonsinterd.service").symlink_to("/lib/systemd/system/moonsinterd.service")
        (units / "moonsinterd.service.d").mkdir()
        sandbox = pathlib.PurePath("usr", "lib", "moonsinter", "sandbox", f"{backend}.conf")
        if (installed / sandbox).exists():
            (units / "moonsinterd.service.d" / "10-backend.conf").symlink_to(f"/{sandbox}")
        if unit_drop_in:
            (units / "moonsinterd.service.d" / "50-test.conf").write_text(unit_drop_in)
        (layer / "etc" / "fstab").write_text(fstab + "tmpfs /var/tmp tmpfs defaults 0 0\n")
        for line in fstab.splitlines():
            (layer / line.split()[1].lstrip("/")).mkdir(parents=True, exist_ok=True)
        manager = layer / "etc" / "systemd" / "system.conf.d"
        manager.mkdir()
        (manager / "50-test.conf").write_text(PATIENT)
        drop_ins = layer / "etc" / "moonsinter" / "moonsinterd.conf.d"
        drop_ins.mkdir(parents=True)
        (drop_ins / "50-test.conf").write_text(settings_text)
        (layer / "etc" / "image-version").write_text("0\n")
        for name in ("stage", "work"):
            (self.folder / name).mkdir()
        self.base(guest.kernels[0])

    def base(self, kernel):
        """The image with that kernel's modules, and the kernel itself where it is in the slot, before files are exchanged."""
        if kernel.release in self.bases:
            return self.bases[kernel.release]
        base = self.bases[kernel.release] = self.folder / f"base-{len(self.bases)}.ext4"
        with open(base, "wb") as file:
            file.truncate(self.size_mib << 20)
        lower = [kernel.modules, *([kernel.boot] if self.with_kernel else []), self.installed, self.guest.tree]
        # The root is read-only in the guest, so our group is made here.
        run("unshare", "--mount", "sh", "-ec",
            'mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=work" root stage; systemd-sysusers --root="$PWD/stage"; '
            '/sbin/mkfs.ext4 -q -F -O ^has_journal -m 0 -U 00000000-0000-0000-0000-000000000001 '
            '-E hash_seed=00000000-0000-0000-0000-000000000001 -d stage "$3"',
            "sh", ":".join(map(str, lower)), self.folder / "layer", base, cwd=self.folder)
        return base

    def make(self, version, files=None, noise_mib=0, kernel=None):
        """An image of that version, with `files` (path in it -> text, a file to copy, or None to remove it) exchanged, and so much in it
        that no other one has; with another kernel than the first one where told so."""
        image = self.folder / f"system-{version}.ext4"
        run("cp", "--sparse=always", self.base(kernel or self.guest.kernels[0]), image)
        orders = []
        for path, text in {"/etc/image-version": f"{version}\n", **(files or {})}.items():
            self.count += 1
            orders.append(f"rm {path}")
            if text is not None:
                source = text
                if isinstance(text, str):
                    source = self.folder / f"file-{self.count}"
                    source.write_text(text)
                    source.chmod(0o755)
                orders.append(f"write {source} {path}")
        if noise_mib:
            images.write_noise(self.folder / "noise", noise_mib << 20, version)
            orders.append(f"write {self.folder / 'noise'} /noise")
        script = self.folder / "orders"
        script.write_text("\n".join(orders) + "\n")
        done = subprocess.run(["/sbin/debugfs", "-w", "-f", str(script), str(image)], capture_output=True, text=True, check=False)
        problems = [line for line in done.stderr.splitlines()[1:] if "File not found" not in line]
        assert done.returncode == 0 and not problems, done.stderr
        return image

