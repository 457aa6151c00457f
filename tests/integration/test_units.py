# SPDX-License-Identifier: MIT
"""The units are such that systemd takes them, and as closed as they promise to be."""

import re
import shutil
import subprocess

import pytest

import programs

UNITS = programs.ROOT / "units"


@pytest.fixture
def units(tmp_path):
    """The units as installed, with the program where it was built."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (package systemd)")
    text = (UNITS / "moonsinterd.service.in").read_text()
    (tmp_path / "moonsinterd.service").write_text(text.replace("@sbindir@", str(programs.MOONSINTERD.parent)))
    text = (UNITS / "moonsinter-verdict.service.in").read_text()
    (tmp_path / "moonsinter-verdict.service").write_text(text.replace("@bindir@", str(programs.MOONSINTER.parent)))
    shutil.copy(UNITS / "moonsinterd.socket", tmp_path)
    return tmp_path


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=600,
                          check=False)


def test_verify(units):
    done = analyze("verify", "--man=no", units / "moonsinterd.service", units / "moonsinterd.socket",
                   units / "moonsinter-verdict.service")
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "moonsinter" in line]
    assert done.returncode == 0, done.stderr
    assert not ours


SANDBOXES = [None, *sorted(path.stem for path in (UNITS / "sandbox").glob("*.conf"))]


@pytest.mark.parametrize("backend", SANDBOXES)
def test_security(units, backend):
    """The exposure of the unit with each backend's drop-in, which docs/security.md tells."""
    if backend:
        (units / "moonsinterd.service.d").mkdir()
        shutil.copy(UNITS / "sandbox" / f"{backend}.conf", units / "moonsinterd.service.d" / "10-backend.conf")
    done = analyze("verify", "--man=no", units / "moonsinterd.service")
    assert done.returncode == 0 and "10-backend" not in done.stderr, done.stderr
    done = analyze("security", "--offline=yes", "--no-pager", units / "moonsinterd.service")
    exposure = re.search(r"Overall exposure level for moonsinterd.service: ([0-9.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= 3.0
    row = next(line for line in (programs.ROOT / "docs" / "security.md").read_text().splitlines()
               if line.startswith("|") and (f"{backend}.conf" if backend else "`file`") in line)
    assert row.split("|")[3].strip() == exposure[1], row


def test_security_with_files_as_parts(units):
    """As docs/boot.md opens a folder of the EFI system partition for them."""
    page = (programs.ROOT / "docs" / "boot.md").read_text()
    dropin = re.search(r"# systemctl edit moonsinterd\n((?: .*\n)*)", page)[1]
    assert "ReadWritePaths=/boot/efi/EFI/Linux" in dropin
    (units / "moonsinterd.service.d").mkdir()
    shutil.copy(UNITS / "sandbox" / "systemd-boot.conf", units / "moonsinterd.service.d" / "10-backend.conf")
    (units / "moonsinterd.service.d" / "20-parts.conf").write_text(re.sub("^ +", "", dropin, flags=re.MULTILINE))
    done = analyze("verify", "--man=no", units / "moonsinterd.service")
    assert done.returncode == 0 and "parts.conf" not in done.stderr, done.stderr
    done = analyze("security", "--offline=yes", "--no-pager", units / "moonsinterd.service")
    exposure = re.search(r"Overall exposure level for moonsinterd.service: ([0-9.]+)", done.stdout)
    row = next(line for line in (programs.ROOT / "docs" / "security.md").read_text().splitlines() if "systemd-boot.conf" in line)
    assert row.split("|")[3].strip() == exposure[1], "it changes nothing of the exposure"


def test_no_capability():
    """What the unit's comments argue from."""
    text = (UNITS / "moonsinterd.service.in").read_text()
    assert re.search(r"^CapabilityBoundingSet=$", text, re.MULTILINE)
    assert re.search(r"^NoNewPrivileges=yes$", text, re.MULTILINE)


def test_every_backend_that_writes_elsewhere_has_its_drop_in():
    table = (programs.ROOT / "daemon" / "config" / "config_table.c").read_text()
    names = re.findall(r'\] = "([a-z-]+)",', re.search(r"backend_names\[\] = \{(.*?)\};", table, re.DOTALL)[1])
    assert {"file", "rpi-cmdline", "grub"} <= set(names)
    assert set(names) - {"file", "custom"} == set(SANDBOXES) - {None}


def test_the_lock_of_the_environment_is_made_before_anybody_else_makes_it(tmp_path):
    """By root and for root alone, where moonsinterd looks for it: whoever may open it may keep it."""
    if not shutil.which("systemd-tmpfiles"):
        pytest.skip("systemd-tmpfiles is not installed (package systemd)")
    path = re.search(r'lock_path\[\] = "/var(/lock/[^"]*)"',
                     (programs.ROOT / "daemon" / "boot" / "uboot_env.c").read_text())[1]
    done = subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "moonsinter.tmpfiles.conf"],
                          capture_output=True, text=True, check=False)
    # Who is root is looked up below --root=.
    assert (tmp_path / "run" / path.lstrip("/")).stat().st_mode == 0o100600, done


def test_socket_is_where_the_settings_say():
    told = re.search(r"^ListenStream=(.*)$", (UNITS / "moonsinterd.socket").read_text(), re.MULTILINE)[1]
    table = (programs.ROOT / "daemon" / "config" / "config_table.c").read_text()
    assert f'"{told}"' in table


def test_group_is_one():
    """sysusers.d makes it, the socket and the service use it, the installed settings name it."""
    assert re.search(r"^g moonsinter ", (UNITS / "moonsinter.sysusers.conf").read_text(), re.MULTILINE)
    assert "SocketGroup=moonsinter\n" in (UNITS / "moonsinterd.socket").read_text()
    assert "SupplementaryGroups=moonsinter\n" in (UNITS / "moonsinterd.service.in").read_text()
    assert "Group=moonsinter\n" in (programs.ROOT / "conf" / "vendor.conf").read_text()
