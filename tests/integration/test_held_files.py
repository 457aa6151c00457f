# SPDX-License-Identifier: MIT
"""A file that backs a loop device is in use, too: whatever is mounted there would be written under."""
import subprocess

import pytest

from programs import assert_failed, moonsinter

pytestmark = pytest.mark.sanitized


def test_a_file_under_a_loop_device_is_refused(nginx, small_release, loops):
    image, content = small_release
    url = nginx.publish(image)
    device = loops.attach(8 << 20)
    backing = loops.backing(device)
    assert_failed(moonsinter("clone", url, backing), str(backing), device)
    link = backing.with_name("link")
    link.symlink_to(backing)
    assert_failed(moonsinter("clone", url, link), device)
    assert backing.read_bytes() == bytes(8 << 20)
    # It may be read: as a seed, and for a plan.
    assert moonsinter("plan", url, backing).status == 0
    loops.detach_all()
    assert moonsinter("clone", url, backing).status == 0
    assert backing.read_bytes() == content


def test_what_is_mounted_from_it_is_named(nginx, small_release, loops, mount):
    device = loops.attach(8 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", device], check=True, stdin=subprocess.DEVNULL)
    point = mount(device)
    (point / "precious").write_text("kept")
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), loops.backing(device)), device, str(point))
    assert (point / "precious").read_text() == "kept"
