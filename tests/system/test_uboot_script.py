# SPDX-License-Identifier: MIT
"""conf/uboot-boot.cmd in U-Boot itself, in every state of its variables: one machine, in which a script sets them, runs ours, and
prints what came of it. Only the kernel's start is played."""
import itertools
import re
import subprocess
import time

import pytest

import disks
import machine
import programs

SCRIPT = programs.ROOT / "conf" / "uboot-boot.cmd"
VARIABLES = ("BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT", "moonsinter_trial")
PRINTED = "/".join(f"${{{name}}}" for name in VARIABLES)
# Notes the first slot that would have been started, and what was written down by then.
START = ('if test -n "${booted}"; then false; elif test "${kernels}" = AB -o "${kernels}" = "${slot}"; then '
         f'setenv booted ${{slot}}; setenv noted "{PRINTED}"; fi; false')
SAVE = 'setenv saved "${saved}+"; test "${saves}" = yes'

ORDERS = ("A B", "B A", "A", "B", "A C")
LEFTS = (("3", "3"), ("0", "3"), ("1", "1"), ("0", "0"), ("", "a"))
TRIALS = ("", "A", "B", "all")
STATES = [dict(zip(VARIABLES, (order, *left, trial)), saves=saves, kernels=kernels)
          for order, left, trial, (saves, kernels) in itertools.product(
              ORDERS, LEFTS, TRIALS, (("yes", "AB"), ("yes", "A"), ("yes", "B"), ("no", "AB")))]


def told(state):
    """What docs/boot.md says: the slot that is started, and the variables at that moment; or None, and those at the end."""
    order, left, trial = state["BOOT_ORDER"], {"A": state["BOOT_A_LEFT"], "B": state["BOOT_B_LEFT"]}, state["moonsinter_trial"]
    if order not in ORDERS[:4]:
        order, left, trial = "A B", {"A": "3", "B": "3"}, "all"
    left = {slot: count or "3" for slot, count in left.items()}
    started = False
    for slot in order.split():
        go = left[slot] != "0"
        if trial in ("all", slot):
            go = left[slot] in "123456789"
            if go:
                left[slot] = str(int(left[slot]) - 1)
                go = trial == "all" or state["saves"] == "yes"
        started |= go
        if go and slot in state["kernels"]:
            return slot, f"{order}/{left['A']}/{left['B']}/{trial}"
    return None, f"{order}/{left['A']}/{left['B']}/{trial}" if started else f"{order}/3/3/all"


def make_scripts(folder):
    text = SCRIPT.read_text()
    start = next(line for line in text.splitlines() if line.startswith("setenv start "))
    for old, new in ((start, f"setenv start '{START}'"), ("setenv env_save saveenv", f"setenv env_save '{SAVE}'"),
                     ("sleep 10\nreset\n", "")):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    lines = ["load virtio 0:1 0x7200000 ours.scr"]
    for number, state in enumerate(STATES):
        lines += [f"setenv {name} {value}" for name, value in state.items()]
        lines += ["setenv booted", "setenv noted", "setenv saved", "source 0x7200000",
                  f'echo "state {number}: ${{booted}} ${{noted}} end {PRINTED} saved ${{saved}}."']
    lines.append("echo all states were tried")
    for name, script in (("ours", text), ("boot", "\n".join(lines) + "\n")):
        (folder / f"{name}.cmd").write_text(script)
        subprocess.run(["mkimage", "-A", "x86", "-T", "script", "-C", "none", "-d", folder / f"{name}.cmd", folder / f"{name}.scr"],
                       check=True, capture_output=True)


def test_what_uboot_makes_of_every_state(folder):
    if missing := machine.missing_programs(machine.QEMU, "mkimage", "mcopy", "sfdisk"):
        pytest.skip(f"not installed: {', '.join(missing)} (tests/packages --install system)")
    make_scripts(folder)
    fat = disks.make_fat(folder / "boot.fat", 16, {name: folder / name for name in ("boot.scr", "ours.scr")})
    disk = disks.Disk(folder / "disk.img", [disks.Partition("boot", 16, content=fat)])
    command = [machine.QEMU, "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-M", "pc",
               "-serial", "stdio", "-bios", disks.UBOOT, *machine.disk(disk.path)]
    log = folder / "console"
    with open(log, "wb") as file, subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file,
                                                   stderr=subprocess.STDOUT) as process:
        try:
            end = time.monotonic() + machine.PATIENCE_S
            while b"all states were tried" not in log.read_bytes():
                assert process.poll() is None and time.monotonic() < end, log.read_bytes()[-2000:]
                time.sleep(0.2)
        finally:
            process.kill()
    console = log.read_bytes().decode(errors="replace").replace("\r", "")
    found = {int(number): rest.split(" end ") for number, rest in re.findall(r"^state (\d+): (.*)$", console, re.M)}
    assert sorted(found) == list(range(len(STATES)))
    for number, state in enumerate(STATES):
        slot, variables = told(state)
        noted, ended = found[number]
        if slot:
            assert noted == f"{slot} {variables}", (state, found[number])
        else:
            assert noted.strip() == "" and ended.startswith(f"{variables} "), (state, found[number])
