# SPDX-License-Identifier: MIT
"""Backend=systemd-boot on a folder that stands for efivarfs, with a tree of entries that stands for the EFI system
partition. The loader is played by the test, as systemd-boot's manual tells it."""
import os
import subprocess

import pytest

import boots

pytestmark = pytest.mark.sanitized

GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
VARIABLES = "sys/firmware/efi/efivars"
A, B = "moonsinter-a.conf", "moonsinter-b.conf"


class SystemdBoot(boots.Loader):
    def __init__(self, root, **settings):
        super().__init__(root, "systemd-boot", **settings)
        self.path(VARIABLES).mkdir(parents=True)
        self.path("var/lib/moonsinter").mkdir(parents=True)
        self.set("LoaderInfo", "systemd-boot 252")
        self.write(f"{VARIABLES}/LoaderFeatures-{GUID}", b"\6\0\0\0" + (0x3f).to_bytes(8, "little"))
        for entry in (A, B):
            self.write(f"boot/efi/loader/entries/{entry}", f"title {entry}\nlinux /vmlinuz\n")
        self.boot()

    def variable(self, name):
        return self.path(f"{VARIABLES}/{name}-{GUID}")

    def set(self, name, text):
        self.variable(name).write_bytes(b"\7\0\0\0" + text.encode("utf-16-le") + b"\0\0")

    def get(self, name):
        if not self.variable(name).exists():
            return None
        data = self.variable(name).read_bytes()
        assert data[:4] == b"\7\0\0\0"
        # On a file that is no variable, a longer value's end stays.
        return data[4:].decode("utf-16-le").split("\0")[0]

    def boot(self):
        """Starts the entry of the one-shot variable, which is removed first, else the default, else the first."""
        chosen = self.get("LoaderEntryOneShot")
        if chosen:
            self.variable("LoaderEntryOneShot").unlink()
        chosen = chosen or self.get("LoaderEntryDefault")
        entries = sorted(os.listdir(self.path("boot/efi/loader/entries")))
        # systemd-boot's pattern is a shell's.
        fits = [entry for entry in entries
                if subprocess.run(["sh", "-c", 'case "$1" in $2) ;; *) exit 1 ;; esac', "sh", entry, chosen or "*"],
                                  check=False).returncode == 0]
        self.set("LoaderEntrySelected", fits[0])
        return "a" if fits[0].startswith("moonsinter-a") else "b"


@pytest.fixture
def loader(tmp_path):
    return SystemdBoot(tmp_path / "root")


def test_an_update_that_is_marked_good(loader):
    loader.expect(running="none", next="a", trial="none", a="good", b="unknown")
    loader.call("invalidate", "b")
    assert loader.get("LoaderEntryDefault") == A and loader.get("LoaderEntryOneShot") is None
    loader.expect(next="a", trial="none", a="good")
    loader.call("arm", "b")
    assert loader.get("LoaderEntryOneShot") == B and loader.get("LoaderEntryDefault") == A
    loader.expect(next="b", trial="b", tries_left=1, a="good", b="trial")
    assert loader.boot() == "b"
    loader.expect(next="a", trial="b", tries_left=0, a="good")
    loader.call("good", "b")
    loader.expect(next="b", trial="none", b="good")
    assert [loader.boot() for _ in range(3)] == ["b"] * 3


def test_an_update_that_never_comes_up(loader):
    loader.call("invalidate", "b")
    loader.call("arm", "b")
    assert [loader.boot() for _ in range(3)] == ["b", "a", "a"]
    loader.expect(next="a", trial="none", a="good")
    loader.call("arm", "b")
    loader.expect(next="b", trial="b")
    loader.call("invalidate", "b")
    loader.expect(next="a", trial="none")
    assert loader.boot() == "a"


def test_an_update_that_is_rejected(loader):
    """Between the rejection and the reboot it is no trial any more, though the variables are the same."""
    loader.call("invalidate", "b")
    loader.call("arm", "b")
    loader.boot()
    for verb in ("invalidate", "reject"):
        with pytest.raises(boots.Refused, match="slot b is on trial"):
            loader.call(verb, "a")
    loader.call("reject", "b")
    loader.expect(next="a", trial="none")
    assert loader.boot() == "a"


def test_a_slot_picked_from_the_menu_is_no_trial(loader):
    loader.call("invalidate", "b")
    loader.set("LoaderEntrySelected", B)
    loader.expect(next="a", trial="none")


def test_arming_needs_a_way_back(loader):
    with pytest.raises(boots.Refused, match="nothing would be fallen back to"):
        loader.call("arm", "b")
    loader.set("LoaderEntryDefault", "memtest.conf")
    loader.expect(next="none")
    with pytest.raises(boots.Refused, match="nothing would be fallen back to"):
        loader.call("arm", "b")
    loader.call("invalidate", "b")
    loader.call("arm", "b")


def test_someone_elses_one_shot_is_left_alone(loader):
    loader.call("invalidate", "b")
    loader.set("LoaderEntryOneShot", "memtest.conf")
    loader.expect(next="none", trial="none")
    loader.call("invalidate", "b")
    assert loader.get("LoaderEntryOneShot") == "memtest.conf"


def test_counted_entries(loader):
    """Counters in file names are the loader's; nothing here renames, and the variables fit whatever they are."""
    entries = loader.path("boot/efi/loader/entries")
    os.rename(entries / B, entries / "moonsinter-b+3-0.conf")
    (entries / "moonsinter-backup.conf").write_text("title another\n")
    before = sorted(os.listdir(entries))
    loader.call("invalidate", "b")
    loader.call("arm", "b")
    loader.expect(next="b", trial="b")
    os.rename(entries / "moonsinter-b+3-0.conf", entries / "moonsinter-b+2-1.conf")
    assert loader.boot() == "b" and loader.get("LoaderEntrySelected") == "moonsinter-b+2-1.conf"
    loader.expect(next="a", trial="b")
    loader.call("good", "b")
    # As systemd-bless-boot does it.
    os.rename(entries / "moonsinter-b+2-1.conf", entries / B)
    loader.expect(next="b", trial="none", b="good")
    assert loader.boot() == "b" and loader.get("LoaderEntrySelected") == B
    assert len(os.listdir(entries)) == len(before)


@pytest.mark.parametrize("counted", ["moonsinter-b+0-3.conf", "moonsinter-b+2-1.conf"])
@pytest.mark.parametrize("place", ["boot/efi/loader/entries", "boot/loader/entries", "efi/EFI/Linux"])
def test_an_entry_with_and_without_counters(loader, counted, place):
    """The plain one is what systemd-boot starts, whatever the folder's order is."""
    loader.write(f"{place}/{counted}", "title counted\n")
    loader.expect(b="unknown")
    assert "two entries" in loader.state()["note"] and "slot b" in loader.state()["note"]
    assert any("two entries" in sentence and "slot b" in sentence for sentence in loader.findings("warning"))
    loader.call("invalidate", "b")
    loader.call("arm", "b")
    assert loader.get("LoaderEntryOneShot") == B
    loader.path(f"{place}/{counted}").unlink()
    assert loader.state()["note"] == ""


def test_two_entries_with_counters(loader):
    entries = loader.path("boot/efi/loader/entries")
    os.rename(entries / B, entries / "moonsinter-b+0-3.conf")
    loader.expect(b="bad")
    loader.write("boot/loader/entries/moonsinter-b+2-1.conf", "")
    loader.expect(b="unknown")


def test_whether_it_could_be_armed(loader):
    loader.call("can-arm", "b")
    loader.path(f"boot/efi/loader/entries/{B}").unlink()
    with pytest.raises(boots.Refused, match=f"slot b has no entry {B}"):
        loader.call("can-arm", "b")
    # With Esp= the entries are there, or the partition is not mounted.
    loader.configure("systemd-boot", Esp="/esp")
    for slot in "ab":
        with pytest.raises(boots.Refused, match="/esp has neither loader/entries nor EFI/Linux"):
            loader.call("can-arm", slot)


@pytest.mark.parametrize("name, health", [("moonsinter-b+0-3.conf", "bad"), ("moonsinter-b+0.conf", "bad"),
                                          ("moonsinter-b+1-2.conf", "unknown"), ("MOONSINTER-B+00-3.CONF", "bad"),
                                          ("moonsinter-b+x.conf", None), ("moonsinter-b+0-.conf", None),
                                          ("moonsinter-b+0-3", None), ("moonsinter-b2.conf", None)])
def test_names_of_counted_entries(loader, name, health):
    entries = loader.path("boot/efi/loader/entries")
    os.rename(entries / B, entries / name)
    loader.expect(b=health or "unknown")
    missing = [sentence for sentence in loader.findings("failure") if "slot b has no entry" in sentence]
    assert bool(missing) == (health is None)


@pytest.mark.parametrize("place, folder", [("efi", "loader/entries"), ("boot", "loader/entries"), ("boot", "EFI/Linux")])
def test_where_the_entries_are(loader, place, folder):
    """Also on XBOOTLDR, while the EFI system partition has an empty folder for them."""
    for entry in (A, B):
        os.unlink(loader.path(f"boot/efi/loader/entries/{entry}"))
    assert any("slot a has no entry" in sentence for sentence in loader.findings("failure"))
    for entry in (A, "moonsinter-b+3.conf"):
        loader.write(f"{place}/{folder}/{entry}", "")
    assert loader.findings("failure") == []
    assert any("the entry of slot b (moonsinter-b.conf) is counted" in sentence for sentence in loader.findings("warning"))
    # With Esp= they are there and nowhere else.
    loader.configure("systemd-boot", Esp="/boot/efi")
    assert any("slot a has no entry moonsinter-a.conf in loader/entries or EFI/Linux on " in sentence
               for sentence in loader.findings("failure"))


def test_a_slot_without_an_entry(loader):
    """The loader passes by an entry that is not there, which would look like a release that does not start."""
    loader.call("invalidate", "b")
    os.unlink(loader.path(f"boot/efi/loader/entries/{B}"))
    for verb, slot in (("arm", "b"), ("reject", "a")):
        with pytest.raises(boots.Refused, match="slot b has no entry moonsinter-b.conf in .*make it, or set EntryB="):
            loader.call(verb, slot)
    assert loader.get("LoaderEntryDefault") == A and loader.get("LoaderEntryOneShot") is None
    loader.expect(next="a", trial="none")
    # Where nothing is to be seen, nothing is concluded.
    os.unlink(loader.path(f"boot/efi/loader/entries/{A}"))
    loader.call("arm", "b")


def test_entries_that_are_exchanged(loader):
    """Told by the entry that was started: every change would select the slot that is written next. Nothing is changed."""
    loader.runs("a")
    loader.call("invalidate", "b")
    loader.runs("b")
    before = boots.snapshot(loader)
    for verb in ("invalidate", "arm", "good", "reject"):
        with pytest.raises(boots.Refused, match="slot b runs, but systemd-boot started moonsinter-a.conf, which is EntryA="):
            loader.call(verb, "a")
    assert any("exchange EntryA= and EntryB=" in sentence for sentence in loader.findings("failure"))
    assert boots.snapshot(loader) == before


def test_the_default_fits_the_entry_as_it_is_now(loader):
    """Somebody took to counting: the name without counters would not be found."""
    loader.call("invalidate", "b")
    assert loader.get("LoaderEntryDefault") == A
    entries = loader.path("boot/efi/loader/entries")
    os.rename(entries / A, entries / "moonsinter-a+2-1.conf")
    loader.call("good", "a")
    assert loader.get("LoaderEntryDefault") == "moonsinter-a[+.]*conf"
    assert loader.boot() == "a"


def test_idempotent(loader):
    for verb in ("invalidate", "arm", "good", "reject"):
        loader.call(verb, "b")
        operations = boots.record(loader, verb, "b")
        assert [operation for operation in operations if operation[0] in ("write", "unlink", "rename")] == [], verb


def test_power_cuts(loader):
    """Firmware stores a variable whole or not at all, so nothing is torn; what is in the state folder may be."""
    changes = [("invalidate", "b"), ("arm", "b"), "boot", ("good", "b"), ("invalidate", "a"), ("arm", "a"), "boot",
               ("reject", "a"), ("reject", "b")]
    for change in changes:
        if change == "boot":
            loader.boot()
        else:
            boots.assert_atomic(loader, *change, torn=False)


def test_nothing_on_the_esp_is_touched(loader):
    for verb in ("invalidate", "arm", "good", "reject"):
        for operation in boots.record(loader, verb, "b"):
            assert "/boot/efi/" not in str(operation[1]), operation


NAMES_OF_OTHERS = [b"\7\0\0\0" + b"\xff" * 40, b"\7\0\0\0" + "d\u00e9bian.conf".encode("utf-16-le") + b"\0\0",
                   b"\7\0\0\0" + "x".encode("utf-16-le") * 300, b"\7\0\0\0\n\0\0\0", b"\7\0\0\0" + A[:-1].encode("utf-16-le") + b"f",
                   b"\7\0\0\0" + A.encode("utf-16-le") + b"\x01\x01\0\0"]


@pytest.mark.parametrize("data", NAMES_OF_OTHERS)
def test_variables_that_others_set(loader, data):
    """They name neither slot, and keep nobody from an update."""
    loader.variable("LoaderEntryDefault").write_bytes(data)
    loader.expect(next="none", trial="none")
    assert any("it selects neither slot" in sentence for sentence in loader.findings("failure"))
    loader.call("invalidate", "b")
    assert loader.get("LoaderEntryDefault") == A
    loader.variable("LoaderEntryOneShot").write_bytes(data)
    loader.expect(next="none", trial="none")
    assert any("which is no slot's entry" in sentence for sentence in loader.findings("warning"))
    loader.call("invalidate", "b")
    assert loader.variable("LoaderEntryOneShot").read_bytes() == data
    loader.call("arm", "b")
    assert loader.get("LoaderEntryOneShot") == B
    # An entry of somebody else's was started, by the menu say.
    loader.variable("LoaderEntrySelected").write_bytes(data)
    loader.call("good", "a")
    loader.expect(next="a", trial="none")


@pytest.mark.parametrize("data", [b"", b"\7\0", b"\7\0\0\0", b"\7\0\0\0\0\0"])
def test_empty_variables(loader, data):
    loader.variable("LoaderEntryDefault").write_bytes(data)
    loader.expect(next="a", trial="none")
    loader.call("invalidate", "b")


def test_immutable_variables(loader):
    """efivarfs makes the files of such variables immutable; the flag is taken off for the write and put back."""
    loader.call("invalidate", "b")
    path = loader.variable("LoaderEntryDefault")
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("no immutable files here")
    try:
        loader.call("good", "b")
        assert loader.get("LoaderEntryDefault") == B
        flags = subprocess.run(["lsattr", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert "i" in flags
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def test_doctor(loader):
    assert loader.findings("failure") == []
    loader.variable("LoaderInfo").unlink()
    os.unlink(loader.path(f"boot/efi/loader/entries/{A}"))
    failures = loader.findings("failure")
    assert any("systemd-boot did not start this system" in sentence for sentence in failures)
    assert any(f"slot a has no entry {A}" in sentence for sentence in failures)


# --- with parts of the set ---

KERNEL_FILES = {"kernel": ("/boot/efi/a/vmlinuz", "/boot/efi/b/vmlinuz"), "initrd": ("/boot/efi/a/initrd.img", "/boot/efi/b/initrd.img")}


def with_kernel_files(loader, parts=None, **texts):
    """An entry, a kernel and an initrd for each slot."""
    for slot in "ab":
        loader.write(f"boot/efi/{slot}/vmlinuz", "kernel")
        loader.write(f"boot/efi/{slot}/initrd.img", "initrd")
        loader.write(f"boot/efi/loader/entries/moonsinter-{slot}.conf",
                     texts.get(slot, f"title {slot}\nlinux    /{slot}/vmlinuz\ninitrd\t/{slot}/initrd.img\r\noptions quiet\n"))
    loader.configure("systemd-boot", parts=parts or KERNEL_FILES)


def brings_kernel(loader):
    return not any("kernel lies outside of it" in sentence for sentence in loader.findings("warning"))


def about_parts(loader):
    return [sentence for level in ("failure", "warning") for sentence in loader.findings(level) if " part " in sentence and "the entry of" in sentence]


def test_whose_entry_was_started(loader):
    loader.expect(started="a")
    loader.set("LoaderEntrySelected", "moonsinter-b+2-1.conf")
    loader.expect(started="b")
    loader.set("LoaderEntrySelected", "memtest.conf")
    loader.expect(started="none")
    loader.variable("LoaderEntrySelected").unlink()
    loader.expect(started="none")


def test_kernel_files_are_parts(loader):
    assert not brings_kernel(loader)
    with_kernel_files(loader)
    assert brings_kernel(loader) and about_parts(loader) == [] and loader.findings("failure") == []
    # Whatever way leads to the file, also to one that is not there yet.
    os.symlink("boot/efi", loader.path("efi"))
    loader.configure("systemd-boot", parts={name: (a.replace("/boot/efi", "/efi"), b) for name, (a, b) in KERNEL_FILES.items()})
    assert brings_kernel(loader) and about_parts(loader) == []
    loader.configure("systemd-boot", parts=KERNEL_FILES)
    os.unlink(loader.path("efi"))
    os.unlink(loader.path("boot/efi/b/vmlinuz"))
    assert brings_kernel(loader) and about_parts(loader) == []
    # Only the root and data are updated.
    with_kernel_files(loader, parts={"app": ("/dev/mmcblk0p5", "/dev/mmcblk0p6")})
    assert not brings_kernel(loader) and about_parts(loader) == []


def test_an_entry_that_starts_other_files_than_the_parts(loader):
    with_kernel_files(loader, b="linux /vmlinuz\ninitrd /b/initrd.img\n")
    assert not brings_kernel(loader)
    assert about_parts(loader) == [next(sentence for sentence in loader.findings("warning")
                                        if "does not name /boot/efi/b/vmlinuz, where the part kernel is" in sentence)]
    with_kernel_files(loader, b="linux /a/vmlinuz\ninitrd /b/initrd.img\n")
    assert not brings_kernel(loader)
    assert any("slot b (moonsinter-b.conf) names /boot/efi/a/vmlinuz, which is the part kernel of slot a" in sentence
               for sentence in loader.findings("failure"))
    # An update of slot A would write the kernel that slot B starts.
    for slot in "ab":
        with pytest.raises(boots.Refused, match="part kernel of slot a"):
            loader.call("can-arm", slot)
    with_kernel_files(loader)
    loader.call("can-arm", "b")


def test_unified_kernel_images_are_parts(loader):
    uki = [f"moonsinter-{slot}.efi" for slot in "ab"]
    for slot in "ab":
        loader.path(f"boot/efi/loader/entries/moonsinter-{slot}.conf").unlink()
        loader.write(f"boot/efi/EFI/Linux/moonsinter-{slot}.efi", "image")
    places = tuple(f"/boot/efi/EFI/Linux/{name}" for name in uki)
    loader.configure("systemd-boot", parts={"uki": places}, EntryA=uki[0], EntryB=uki[1])
    loader.set("LoaderEntrySelected", uki[1])
    loader.expect(started="b")
    assert brings_kernel(loader) and loader.findings("failure") == [] and about_parts(loader) == []
    # The first update makes the file; but nothing is armed before it is there.
    for slot in "ba":
        loader.path(f"boot/efi/EFI/Linux/moonsinter-{slot}.efi").unlink()
        loader.set("LoaderEntrySelected", uki["ba".index(slot)])
        other = "ab"[slot == "a"]
        loader.call("can-arm", slot)
        loader.call("invalidate", slot)
        with pytest.raises(boots.Refused, match=f"slot {slot} has no entry {uki['ab'.index(slot)]}"):
            loader.call_alone("arm", slot)
        assert loader.findings("failure") == [] and any(f"slot {slot} has no entry yet" in sentence for sentence in loader.findings("ok"))
        # Nor is the other one given up for one that is not there.
        with pytest.raises(boots.Refused, match=f"slot {slot} has no entry"):
            loader.call_alone("reject", other)
        loader.write(f"boot/efi/EFI/Linux/moonsinter-{slot}.efi", "image")
        loader.call("arm", slot)
        loader.call("invalidate", slot)
    # A part has one name; systemd-boot would go by it, too, as soon as it is written, but counts in the other one until then.
    os.rename(loader.path(f"boot/efi/EFI/Linux/{uki[1]}"), loader.path("boot/efi/EFI/Linux/moonsinter-b+3.efi"))
    assert any("take the counters off" in sentence for sentence in loader.findings("warning"))
    assert not brings_kernel(loader)
    assert any(f"does not name {places[1]}" in sentence for sentence in about_parts(loader))


def test_not_an_efi_machine(tmp_path):
    loader = SystemdBoot(tmp_path / "root")
    loader.configure("systemd-boot", EfiVariables="/sys/nowhere")
    with pytest.raises(boots.Refused, match="this machine was not started by EFI"):
        loader.state()
    loader.configure("systemd-boot", EntryA=B)
    with pytest.raises(boots.Refused, match="EntryA= and EntryB= are the same"):
        loader.state()
