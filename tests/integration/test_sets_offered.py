# SPDX-License-Identifier: MIT
"""What a set that is offered is to a device: all its images are compared, and all its manifests have to be there."""
import shutil

import pytest

import images
from conditions import whats
from programs import moonsinter, wait_until
from set_site import BOOT_SIZE, boot, root, sha256, site, url

pytestmark = pytest.mark.sanitized


@pytest.fixture
def places(folder):
    """Where the part lies in both slots: files, and that of slot B is not there yet."""
    (folder / "esp").mkdir()
    return folder / "esp" / "boot-a", folder / "esp" / "boot-b"


@pytest.fixture
def device(make_daemon, url, file_slots, places):
    """device(**sections) makes the daemon of one that has a place for the part."""
    def make(**options):
        return make_daemon(url, file_slots, **{"mode": "check", "Part boot": {"A": places[0], "B": places[1]}, **options})
    return make


def result(expected):
    return lambda status: status["last_check"]["result"] == expected and status["state"] in ("idle", "held")


def install_by_hand(root, boot, file_slots, places):
    shutil.copy(root, file_slots[0])
    shutil.copy(boot, places[0])


def test_a_device_that_was_made_with_the_set(device, root, boot, file_slots, places):
    """All its images are read and compared, as nothing is recorded."""
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    status = daemon.wait(result("up-to-date"), "what runs is recognised")
    assert status["blocked_by"] == []
    assert status["update"]["parts"] == {"boot": {"sha256": sha256(boot.read_bytes()), "bytes": BOOT_SIZE}}
    assert status["slots"]["a"]["parts"] == {"boot": {"path": str(places[0]), "sha256": sha256(boot.read_bytes())}}
    assert status["slots"]["b"]["parts"] == {"boot": {"path": str(places[1]), "sha256": None}}
    shown = moonsinter("status", "--socket", daemon.socket)
    assert shown.status == 0 and "up-to-date" in shown.stdout, shown


@pytest.mark.parametrize("what", ["another", "gone", "longer-root-only"])
def test_the_root_alone_is_another_release(what, device, root, boot, file_slots, places):
    install_by_hand(root, boot, file_slots, places)
    if what == "another":
        places[0].write_bytes(images.noise(BOOT_SIZE, "somebody else's"))
    elif what == "gone":
        places[0].unlink()
    else:
        places[0].write_bytes(boot.read_bytes()[:-1])
    daemon = device().start()
    status = daemon.wait(result("update"), "it is an update")
    assert whats(status) == ["mode"]


def test_a_new_kernel_is_an_update(device, site, url, root, boot, file_slots, places):
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    daemon.wait(result("up-to-date"), "it runs what is offered")
    # Another length of the name, for nginx makes the ETag of the second and the length.
    newer = site.image("boot-22.vfat", images.noise(BOOT_SIZE, "boot 2"))
    site.set("root.img", f"boot={newer}")
    daemon.post("check")
    daemon.wait(result("update"), "the other kernel is an update")
    # And back: what runs is recorded with its parts.
    site.set("root.img", f"boot={boot}")
    daemon.post("check")
    daemon.wait(result("up-to-date"), "it runs what is offered")


@pytest.mark.parametrize("what", ["missing", "another"])
def test_a_part_that_does_not_fit_is_waited_for(what, device, site, url, root, boot, file_slots, places):
    """As between two uploads of a publication: it is told, and the next look finds it whole."""
    install_by_hand(root, boot, file_slots, places)
    manifest = boot.parent / "boot-1.vfat.json"
    content = manifest.read_bytes()
    if what == "missing":
        manifest.unlink()
    else:
        site.image("other.vfat", images.noise(BOOT_SIZE, "another release"))
        manifest.write_bytes((boot.parent / "other.vfat.json").read_bytes())
    daemon = device(Update={"Interval": "1s"}).start()
    status = daemon.wait(lambda status: status["last_error"], "it is told")
    assert status["last_check"]["result"] == "failed"
    assert status["last_error"]["kind"] == ("remote" if what == "missing" else "mismatch")
    assert "boot" in status["last_error"]["message"] and "boot-1.vfat.json" in status["last_error"]["message"]
    assert status["last_check"]["next"], "it is looked at again by itself"
    manifest.write_bytes(content)
    daemon.wait(result("up-to-date"), "then it is there")


def test_a_part_that_the_release_lacks(device, site, nginx, root, boot, file_slots, places, make_daemon):
    """Until then the target's would stay, which is that of an older release."""
    plain = site.image("plain.img", images.noise(500_000, "plain"))
    daemon = make_daemon(nginx.url(plain.name), file_slots, mode="install", **{"Part boot": {"A": places[0], "B": places[1]}}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "it is held")
    assert whats(status) == ["part-missing"]
    assert "boot" in status["blocked_by"][0]["why"]
    daemon.stop()
    carrying = make_daemon(nginx.url(plain.name), file_slots, mode="install",
                           **{"Part boot": {"A": places[0], "B": places[1], "Missing": "carry"}}).start()
    status = carrying.wait(lambda status: status["state"] == "held", "nobody knows what it has of it")
    assert whats(status) == ["part-missing"]
    assert not places[1].exists()


def test_a_restart_needs_no_network(device, nginx, root, boot, file_slots, places):
    """What was fetched of the set is kept, held to the hashes that its manifest names."""
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    daemon.wait(result("up-to-date"), "it runs what is offered")
    wait_until((daemon.folder / "state" / "part-boot.json").exists, "the part's manifest is kept")
    assert daemon.stop() == 0
    manifests = [boot.parent / "boot-1.vfat.json", root.parent / "root.img.json"]
    for manifest in manifests:
        manifest.rename(f"{manifest}.away")
    daemon.start()
    status = daemon.wait(lambda status: status["last_error"], "the server has nothing")
    assert status["slots"]["a"]["sha256"] == sha256(root.read_bytes())
    assert status["update"]["sha256"] == sha256(root.read_bytes()), "what was offered is known"
    assert daemon.stop() == 0
    assert "cannot be used" not in daemon.log


@pytest.mark.parametrize("how", ["another", "gone", "torn"])
def test_a_kept_part_that_is_another(how, device, root, boot, file_slots, places):
    """It proves nothing, and everything is fetched again."""
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    daemon.wait(result("up-to-date"), "it runs what is offered")
    kept = daemon.folder / "state" / "part-boot.json"
    wait_until(kept.exists, "the part's manifest is kept")
    assert daemon.stop() == 0
    content = kept.read_bytes()
    kept.unlink()
    if how != "gone":
        kept.write_bytes(content[:-1] if how == "torn" else content.replace(b"{", b" {", 1))
    daemon.start()
    daemon.wait(lambda status: result("up-to-date")(status) and kept.exists() and kept.read_bytes() == content, "it is fetched again")


def test_what_is_cancelled_is_the_whole_set(device, site, boot, file_slots, places):
    """Another kernel is another release, which nobody cancelled."""
    daemon = device(mode="install").start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "the set is armed")
    daemon.post("cancel")
    daemon.wait(lambda status: whats(status) == ["cancelled"], "it is held")
    newer = site.image("boot-22.vfat", images.noise(BOOT_SIZE, "boot 2"))
    site.set("root.img", f"boot={newer}")
    daemon.post("check")
    daemon.wait(lambda status: status["state"] == "reboot-pending", "the set with the other kernel is armed")
    assert places[1].read_bytes() == newer.read_bytes()
    daemon.post("cancel")
    daemon.wait(lambda status: whats(status) == ["cancelled"], "it is held as well")


def test_a_part_that_was_written_by_other_means(device, root, boot, file_slots, places):
    """What runs is the set no longer, whatever its root is, so the set is an update again."""
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    daemon.wait(result("up-to-date"), "it runs what is offered")
    assert daemon.stop() == 0
    places[0].write_bytes(images.noise(BOOT_SIZE, "somebody else's"))
    daemon.start()
    status = daemon.wait(lambda status: status["last_error"], "it is told")
    assert status["last_error"]["kind"] == "mismatch" and str(places[0]) in status["last_error"]["message"]
    daemon.post("check")
    status = daemon.wait(result("update"), "the set is an update")
    assert status["slots"]["a"]["parts"]["boot"]["sha256"] is None


def test_a_mounted_part_changes_a_little(device, root, boot, file_slots, places):
    """FAT writes its dirty flag, and somebody a file."""
    install_by_hand(root, boot, file_slots, places)
    daemon = device().start()
    daemon.wait(result("up-to-date"), "it runs what is offered")
    assert daemon.stop() == 0
    content = images.noise(100_000, "files") + boot.read_bytes()[100_000:]
    places[0].write_bytes(content)
    daemon.start()
    daemon.post("check")
    status = daemon.wait(result("up-to-date"), "it is the same set")
    assert not status["last_error"] and status["slots"]["a"]["parts"]["boot"]["sha256"] == sha256(boot.read_bytes())
