# SPDX-License-Identifier: MIT
"""A machine that is killed at random moments of its updates: it comes up each time, whatever the loader might start is whole,
and the updates finish all the same. Moments are drawn phase by phase, for arming takes a blink and verifying half of an
update; a kill is counted where it fell."""
import collections
import concurrent.futures
import hashlib
import random
import re
import shutil
import time

import pytest

import disks
import machine
from devices import GrubDevice

NOISE_MIB = 6
# Without a check to wait for, a trial would be over as soon as the daemon is up.
HEALTH = {"/etc/moonsinter/health.d/50-look": "#!/bin/sh\nsleep 3\n"}
# What a machine does from a start on the old release until the new one is marked good, and a while after that.
PHASES = ["start", "download", "verify", "arm", "shut down", "load", "start on trial", "trial", "after"]
# How long a phase takes as long as none has been seen to its end, and what "after" is.
LENGTH_S = 2.0
# The daemon is up before the network may be; its own next try would be minutes later.
ASK_AGAIN_S = 20
ON_CONSOLE = {b"reboot: Restarting system": "load", b"moonsinter: starting slot": "kernel", b" is up in slot ": "up"}


def running_state(status, version):
    """The state of the slot that runs, where it holds that version."""
    return next((slot["state"] for slot in status["slots"].values()
                 if slot["role"] == "active" and slot["version"] == str(version)), None)


class Killer:
    """Updates a device from release to release, and kills it."""

    def __init__(self, device, maker, seed):
        self.device, self.machine, self.chance = device, device.machine, random.Random(seed)
        self.size = device.images[1].stat().st_size
        self.known = {hashlib.sha256(device.images[1].read_bytes()).hexdigest()}
        # The release that was last seen marked good, and the one that is published.
        self.good = self.newest = 1
        self.finished = self.failed = 0
        self.fell, self.lengths = collections.Counter(), {}
        self.on_trial, self.ask_at = False, 0
        self.maker = maker
        self.prepare()
        self.publish()

    # --- releases -----------------------------------------------------------------------------------------------

    def prepare(self):
        """Makes the next release while the machine goes on. It has bytes in it that no slot ever held."""
        self.next = self.maker.submit(self.device.make_release, self.newest + 1, noise_mib=NOISE_MIB)

    def publish(self):
        release = self.next.result()
        self.newest += 1
        self.known.add(hashlib.sha256(release.read_bytes()).hexdigest())
        self.device.nginx.publish(release)
        shutil.rmtree(release.parent)
        # What the server has is a link to the image, so this one stays until the next takes its place.
        if self.newest > 2:
            self.device.images.pop(self.newest - 1).unlink()
        self.prepare()
        self.on_trial, self.ask_at = False, 0

    # --- power --------------------------------------------------------------------------------------------------

    def power_on(self):
        block = disks.read_fat(self.device.boot_disk.fat("boot"), "grubenv")
        starts, bootable = disks.grub_selection(block)
        for slot in bootable:
            held = hashlib.sha256(self.device.disk.read(f"root-{slot}", self.size)).hexdigest()
            assert held in self.known, f"slot {slot} is bootable and torn: {dict(self.fell)}"
        self.on_trial = starts in bootable and f"moonsinter_{starts.upper()}_ok=0\n".encode() in block
        self.ask_at, self.stage, self.last_phase = 0, "load", None
        self.machine.start()

    # --- what it does -------------------------------------------------------------------------------------------

    def follow_console(self):
        """Which stage of a start was told last, and that a whole release came up."""
        found = {self.machine.console.rfind(text, self.machine.begun): stage for text, stage in ON_CONSOLE.items()}
        at, stage = max(found.items())
        if at < 0 or stage == self.stage:
            return
        if stage == "load":
            # What reboots by itself has armed something; and who told the status is gone.
            self.on_trial, self.ask_at, self.machine.status = True, 0, None
        if stage == "up":
            up = int(re.findall(rb"system (\d+) is up in slot", self.machine.console)[-1])
            assert up in (self.good, self.newest), f"release {up} came up\n{self.machine.tail()}"
        self.stage = stage

    def phase(self):
        self.follow_console()
        status = self.machine.status
        if self.stage != "up" or not status:
            started = "load" if self.stage == "load" else "start on trial"
            return started if self.on_trial else "start"
        if status["state"] == "installing" and status["phase"] == "verifying":
            return "verify"
        if running_state(status, self.newest):
            return "after" if self.note_good() else "trial"
        return {"activating": "arm", "reboot-pending": "shut down", "installing": "download",
                "checking": "download"}.get(status["state"], "start")

    def note_good(self):
        """Whether the newest release is marked good."""
        status = self.machine.status
        if status["state"] not in ("idle", "held", "checking") or running_state(status, self.newest) != "good":
            return False
        self.finished += self.good != self.newest
        self.good = self.newest
        return True

    def is_over(self):
        """Nothing is left to do for the newest release. One of which every try was cut short counts as failed."""
        status = self.machine.status
        if self.stage != "up" or not status or status["state"] not in ("idle", "held"):
            return False
        failed = (status["update"]["version"] == str(self.newest) and
                  "failed-before" in [block["what"] for block in status["blocked_by"]])
        self.failed += failed
        if failed or self.note_good():
            return True
        if time.monotonic() > self.ask_at:
            self.machine.post("moonsinter check >/dev/null")
            self.ask_at = time.monotonic() + ASK_AGAIN_S
        return False

    def step(self):
        """Waits a little; returns the phase, and notes how long those took that are over."""
        phase, now = self.phase(), time.monotonic()
        if phase != self.last_phase:
            if self.last_phase:
                self.lengths[self.last_phase] = now - self.entered
            self.last_phase, self.entered, self.deadline = phase, now, now + machine.PATIENCE_S
        assert now < self.deadline, f"still in the phase '{phase}'\n{self.machine.tail()}"
        assert self.machine.process.poll() is None, self.machine.tail()
        return phase

    # --- the test -----------------------------------------------------------------------------------------------

    def kill(self, wanted):
        """Starts the machine, and pulls the plug in that phase, or right behind it where it is shorter than it was."""
        self.power_on()
        if self.on_trial and wanted == "start":
            # The next start is none on the old release.
            wanted = "start on trial"
        moment = None
        while True:
            phase = self.step()
            if moment is None and phase == wanted:
                length = self.lengths.get(wanted, LENGTH_S) if wanted != "after" else LENGTH_S
                moment = time.monotonic() + self.chance.uniform(0, length)
            if moment is not None and (phase != wanted or time.monotonic() >= moment):
                break
            if moment is None and self.is_over():
                self.publish()
            self.machine.pump(0.1 if moment is None else max(min(0.1, moment - time.monotonic()), 0))
        self.fell[phase] += 1
        self.machine.cut()
        return phase

    def finish(self):
        """Left alone, the last update finishes."""
        self.power_on()
        pending = self.good != self.newest
        while self.step() != "after" or not pending:
            if self.is_over():
                self.publish()
                pending = True
            self.machine.pump(0.1)


@pytest.mark.parametrize("seed, kills", [(1, 3), *(pytest.param(seed, 25, marks=pytest.mark.full) for seed in range(2, 6))])
def test_killed_at_random_moments(guest, installed, folder, nginx, make_machine, seed, kills):
    with concurrent.futures.ThreadPoolExecutor(1) as maker:
        killer = Killer(GrubDevice(folder, guest, installed, nginx, make_machine, files=HEALTH), maker, seed)
        begun, wanted = time.monotonic(), []
        for number in range(kills):
            wanted = wanted or killer.chance.sample(PHASES, len(PHASES))
            phase = killer.kill(wanted.pop())
            print(f"kill {number + 1} after {time.monotonic() - begun:.0f} s: {phase}, release {killer.newest}, "
                  f"{killer.finished} finished, {killer.failed} cut short at every try", flush=True)
        killer.finish()
    print(", ".join(f"{phase}: {killer.fell[phase]}" for phase in PHASES))
    print(f"{kills} kills, {killer.finished} updates finished, {killer.failed} cut short at every try")
