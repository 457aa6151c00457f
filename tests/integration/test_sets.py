# SPDX-License-Identifier: MIT
"""Releases of several images: published as one, and cloned into files as one."""
import json
import os
import shutil

import pytest

import images
from programs import assert_failed, moonsinter, on_terminal, start_moonsinter
from releases import disguise, make_release, read_manifest
from set_site import BOOT_SIZE, ROOT_SIZE, boot, outputs, root, sha256, site, url

pytestmark = pytest.mark.sanitized


def test_the_manifest_of_a_set(url, root, boot):
    ours = read_manifest(root)["moonsinter"]
    assert (ours["format"], ours["needs"]) == (2, "0.2.0")
    [part] = ours["parts"]
    manifest = (boot.parent / "boot-1.vfat.json").read_bytes()
    assert part == {"name": "boot", "manifest": {"url": "boot-1.vfat.json", "size": len(manifest), "sha256": sha256(manifest)}}


def test_a_set_is_cloned_as_it_was_planned(url, folder, root, boot, nginx):
    made_root, made_boot = outputs(folder)
    planned = moonsinter("plan", url, made_root, "--part", f"boot={made_boot}")
    assert planned.status == 0 and not made_root.exists() and not made_boot.exists()
    assert [event["value"] for event in planned.named("part")] == ["boot", "root"]
    cloned = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}")
    assert cloned.status == 0, cloned
    assert made_root.read_bytes() == root.read_bytes() and made_boot.read_bytes() == boot.read_bytes()
    done = cloned.events[-1]
    assert done["total_bytes_downloaded"] == planned.events[-1]["download_bytes"]
    assert done["total_bytes_written"] == ROOT_SIZE + BOOT_SIZE
    assert sum(event["download_bytes"] for event in cloned.named("plan")) == done["total_bytes_downloaded"]
    # Every image is planned before the first one is made.
    assert [event["value"] for event in cloned.named("part")] == ["boot", "root", "boot", "root"]
    order = [event["event"] for event in cloned.events if event["event"] in ("part", "plan", "plan_sum", "dl_chunk")]
    assert order[:order.index("dl_chunk")] == ["part", "plan", "part", "plan", "plan_sum", "part"]
    # Once more: nothing but manifests and tables is read.
    again = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}")
    assert again.status == 0 and again.events[-1]["total_bytes_written"] == 0


@pytest.mark.parametrize("verb", ["plan", "clone"])
def test_the_sum_of_a_plan(url, folder, root, verb):
    made_root, made_boot = outputs(folder)
    shutil.copy(root, made_root)
    result = moonsinter(verb, url, made_root, "--part", f"boot={made_boot}")
    plans, [total] = result.named("plan"), result.named("plan_sum")
    assert len(plans) == 2 and plans[0].keys() == total.keys()
    for name, value in total.items():
        assert name == "event" or value == plans[0][name] + plans[1][name], name
    assert (total["image_bytes"], total["bytes_kept"], total["bytes_fetched"]) == (ROOT_SIZE + BOOT_SIZE, ROOT_SIZE, BOOT_SIZE)


def test_the_sum_of_a_plan_on_a_terminal(url, folder, root):
    made_root, made_boot = outputs(folder)
    shutil.copy(root, made_root)
    status, drawn = on_terminal("plan", url, made_root, "--part", f"boot={made_boot}")
    assert status == 0
    lines = [line.split("\r")[-1] for line in drawn.replace("\r\n", "\n").splitlines()]
    plans = [line.rsplit(":", 1)[0] for line in lines if line.endswith("to download")]
    assert plans == ["0 B kept, 0 B copied, 0 B patched, 700.0 kB fetched", "2.0 MB kept, 0 B copied, 0 B patched, 0 B fetched",
                     "all images: 2.0 MB kept, 0 B copied, 0 B patched, 700.0 kB fetched"], drawn


def test_a_part_that_is_too_large_for_its_output(site, folder, root, boot, disks):
    """Nothing is written into the outputs of the images before it."""
    big = site.image("big.img", images.noise(1_500_000, "big"))
    url = site.set("root.img", f"boot={boot}", f"big={big}")
    made_root, made_boot = outputs(folder)
    made_root.write_bytes(b"an older root")
    made_boot.write_bytes(b"an older boot")
    disk = disks("disk", 1 << 20)
    before = disk.digest("a")
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--part", f"big={disk.part('a')}")
    assert_failed(result, "big", "does not fit", kind="refused")
    assert (made_root.read_bytes(), made_boot.read_bytes()) == (b"an older root", b"an older boot")
    assert disk.digest("a") == before and not result.named("dl_chunk")


@pytest.mark.parametrize("gone", [".json", ".chunks"])
def test_a_file_of_a_later_part_is_gone(site, folder, root, boot, key, gone):
    """Nothing is written into the outputs of the images before it."""
    other = site.image("other.img", images.noise(50_000, "other"))
    url = site.set("root.img", f"boot={boot}", f"other={other}", options=["--sign", key.secret])
    os.unlink(f"{other}{gone}")
    made_root, made_boot = outputs(folder)
    made_root.write_bytes(b"an older root")
    made_boot.write_bytes(b"an older boot")
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--part", f"other={folder / 'other'}",
                        "--key", key.public)
    assert_failed(result, "other", kind="remote")
    assert (made_root.read_bytes(), made_boot.read_bytes()) == (b"an older root", b"an older boot")
    assert not result.named("dl_chunk")


def test_what_only_looks_right_in_an_output(site, folder, root):
    """As for a single image: one more round, of which the image before has nothing to write."""
    other, boot = (site.image(name, images.noise(BOOT_SIZE, name)) for name in ("other.img", "boot-4.vfat"))
    made_root, made_boot = outputs(folder)
    evil = bytearray(boot.read_bytes())
    size = disguise(boot, evil, 300_000)
    made_boot.write_bytes(evil)
    url = site.set("root.img", f"other={other}", f"boot={boot}")
    result = moonsinter("clone", url, made_root, "--part", f"other={folder / 'other'}", "--part", f"boot={made_boot}")
    assert result.status == 0, result
    [again] = result.named("clone_again")
    assert again["value"].startswith("boot: ")
    for made, image in (made_root, root), (made_boot, boot), (folder / "other", other):
        assert made.read_bytes() == image.read_bytes()
    assert result.events[-1]["total_bytes_written"] == BOOT_SIZE + size + ROOT_SIZE


def test_bytes_that_are_wrong_on_the_server_are_no_output_that_is(site, url, folder, root, boot):
    """Though an image before was read back: looking at that once more would not help."""
    made_root, made_boot = outputs(folder)
    with open(root, "r+b") as file:
        file.write(b"torn")
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--retry-for", "1s")
    assert_failed(result, "root", kind="mismatch")
    assert "clone_again" not in result.names and made_boot.read_bytes() == boot.read_bytes()


def test_only_the_boot_image_is_new(site, url, folder, root):
    made_root, made_boot = outputs(folder)
    assert moonsinter("clone", url, made_root, "--part", f"boot={made_boot}").status == 0
    newer = site.image("boot-2.vfat", images.noise(300_000, "boot 2") + made_boot.read_bytes()[300_000:])
    site.set("root.img", f"boot={newer}")
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}")
    assert result.status == 0, result
    assert made_boot.read_bytes() == newer.read_bytes() and made_root.read_bytes() == root.read_bytes()
    assert 300_000 <= result.events[-1]["total_bytes_downloaded"] < 400_000


def test_seeds_of_a_part(url, folder, root, boot):
    made_root, made_boot = outputs(folder)
    seed = folder / "old-boot"
    shutil.copy(boot, seed)
    result = moonsinter("clone", url, made_root, root, "--part", f"boot={made_boot},{folder / 'missing'},{seed}")
    assert result.status == 0, result
    assert made_boot.read_bytes() == boot.read_bytes() and made_root.read_bytes() == root.read_bytes()
    assert result.events[-1]["total_chunks_downloaded"] == 0


def test_an_output_as_the_seed_of_another_image(site, folder, root):
    """It is overwritten after it was planned with: what is gone is fetched."""
    boot = site.image("boot-3.vfat", root.read_bytes()[1_000_000:] + images.noise(500_000, "boot 3"))
    url = site.set("root.img", f"boot={boot}")
    for seed in ("boot", "root"):
        made = {"root": folder / f"root of {seed}", "boot": folder / f"boot of {seed}"}
        for path in made.values():
            shutil.copy(root, path)
        made["boot" if seed == "root" else "root"].unlink()
        arguments = [made["root"]] + ([made["boot"]] if seed == "boot" else [])
        part = f"boot={made['boot']}" + (f",{made['root']}" if seed == "root" else "")
        result = moonsinter("clone", url, *arguments, "--part", part)
        assert result.status == 0, result
        assert made["root"].read_bytes() == root.read_bytes() and made["boot"].read_bytes() == boot.read_bytes()


def test_an_image_for_each_slot(site, folder, root):
    kernels = {slot: site.image(f"uki-{slot}.efi", images.noise(400_000, slot)) for slot in "ab"}
    url = site.set("root.img", *[f"uki@{slot}={path}" for slot, path in kernels.items()])
    for slot, path in kernels.items():
        made_root, made = outputs(folder, slot)
        planned = moonsinter("plan", url, made_root, "--part", f"uki@{slot}={made}")
        result = moonsinter("clone", url, made_root, "--part", f"uki@{slot}={made}")
        assert result.status == 0, result
        assert made.read_bytes() == path.read_bytes()
        assert result.events[-1]["total_bytes_downloaded"] == planned.events[-1]["download_bytes"], "the other one is not asked for"
    made_root, made = outputs(folder, "c")
    for part in ("uki", "boot"):
        assert_failed(moonsinter("clone", url, made_root, "--part", f"{part}={made}"), kind="refused")
    assert not made_root.exists() and not made.exists()


@pytest.mark.parametrize("arguments", [
    (), ("boot=boot", "boot=other"), ("boot=boot", "more=more"), ("boot@a=boot",), ("root=boot",), ("Boot=boot",), ("boot=",),
    ("boot",), ("boot=,seed",), ("boot=out",), ("boot@c=boot",)], ids=str)
def test_outputs_that_do_not_fit(url, folder, arguments):
    """Nothing is made, as a set that is torn would be."""
    words = [word for argument in arguments for word in ("--part", argument)]
    result = moonsinter("clone", url, "out", *words, cwd=folder)
    assert result.status == 2 or (result.status == 1 and result.events[-1]["kind"] == "refused"), result
    assert not [name for name in os.listdir(folder) if name in ("out", "boot", "other", "more", "seed")]


def test_a_part_of_one_image(site, folder, root):
    url = site.url("root.img")
    assert_failed(moonsinter("clone", url, folder / "out", "--part", f"boot={folder / 'boot'}"), kind="refused")


def test_two_outputs_by_two_names(url, folder):
    (folder / "disk").write_bytes(b"")
    os.link(folder / "disk", folder / "link")
    assert_failed(moonsinter("clone", url, folder / "disk", "--part", f"boot={folder / 'link'}"), kind="refused")


@pytest.mark.parametrize("damage", ["gone", "another", "a set", "no table", "torn image"])
def test_a_part_that_does_not_fit_its_set(site, url, folder, boot, damage):
    """The main image is the last to be written, and is not where a part cannot be made."""
    made_root, made_boot = outputs(folder)
    manifest = boot.parent / "boot-1.vfat.json"
    if damage == "gone":
        manifest.unlink()
    elif damage == "another":
        site.image("boot-1.vfat", images.noise(BOOT_SIZE, "another"))
    elif damage == "torn image":
        with open(boot, "r+b") as file:
            file.write(b"torn")
    else:
        # The set names these bytes, so that only what they say is wrong.
        text = json.loads(manifest.read_bytes())
        if damage == "a set":
            text["moonsinter"].update(format=2, parts=[{"name": "x", "manifest": {"url": "x.json", "size": 1, "sha256": "0" * 64}}])
        else:
            del text["moonsinter"]["chunks"]
        manifest.write_text(json.dumps(text))
        root = read_manifest(boot.parent / "root.img")
        root["moonsinter"]["parts"][0]["manifest"].update(size=manifest.stat().st_size, sha256=sha256(manifest.read_bytes()))
        (boot.parent / "root.img.json").write_text(json.dumps(root))
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--retry-for", "1s")
    assert_failed(result)
    if damage == "torn image":
        assert made_root.read_bytes() == b"", "it was opened, as all are before the first is written"
    else:
        assert not made_root.exists() and not made_boot.exists()


def test_a_publication_is_under_way(site, url, folder, boot, root):
    """The next release's part is there and its set is not yet: that is waited for."""
    made_root, made_boot = outputs(folder)
    site.image("boot-1.vfat", images.noise(BOOT_SIZE, "next"))
    process = start_moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--retry-for", "5min")
    for line in process.stdout:
        if json.loads(line)["event"] == "dl_manifest_retry":
            break
    site.set("root.img", f"boot={boot}")
    events = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0 and events[-1]["event"] == "done"
    process.stderr.close()
    assert made_boot.read_bytes() == images.noise(BOOT_SIZE, "next") and made_root.read_bytes() == root.read_bytes()


def test_a_part_whose_table_is_torn(url, folder, boot):
    """As for a single image: the fixed chunks serve, and the whole is proved by its SHA-256."""
    made_root, made_boot = outputs(folder)
    table = boot.parent / "boot-1.vfat.chunks"
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--retry-for", "1s")
    assert result.status == 0 and "table_skipped" in result.names
    assert made_boot.read_bytes() == boot.read_bytes()


def test_verify(url, folder, root, boot, site):
    made_root, made_boot = outputs(folder)
    assert moonsinter("clone", url, made_root, "--part", f"boot={made_boot}").status == 0

    def verify(*parts):
        return moonsinter("verify", made_root, f"{root}.json", *[word for part in parts for word in ("--part", part)])

    assert verify(f"boot={made_boot}").status == 0
    assert_failed(verify(), kind="refused")
    assert_failed(verify(f"more={made_boot}"), kind="refused")
    with open(made_boot, "r+b") as file:
        file.seek(BOOT_SIZE - 1)
        file.write(b"?")
    assert_failed(verify(f"boot={made_boot}"), kind="mismatch")
    # A manifest that fits it, but not the set.
    site.image("boot-1.vfat", made_boot.read_bytes())
    assert_failed(verify(f"boot={made_boot}"), kind="mismatch")
    site.set("root.img", f"boot={boot}")
    assert verify(f"boot={made_boot}").status == 0
    (boot.parent / "boot-1.vfat.json").unlink()
    assert_failed(verify(f"boot={made_boot}"), kind="system")


def test_generate_refuses_what_is_no_part(site, root, boot, folder):
    def refused(*parts):
        before = read_manifest(root)
        result = moonsinter("generate", root, *[word for part in parts for word in ("--part", part)])
        assert result.status == 2 or result.events[-1]["kind"] == "refused", result
        assert read_manifest(root) == before

    bare = site.www / "bare.vfat"
    bare.write_bytes(b"x" * 5000)
    elsewhere = make_release(folder / "elsewhere", b"y" * 5000, name="boot.vfat")
    site.image("set.img", images.noise(10_000, "set"))
    site.set("set.img", f"boot={boot}")
    grown = site.image("grown.vfat", b"z" * 5000)
    grown.write_bytes(b"z" * 5001)
    refused(f"boot={bare}")
    refused(f"boot={elsewhere}")
    refused(f"boot={site.www / 'set.img'}")
    refused(f"boot={grown}")
    refused(f"boot={root}")
    refused(f"boot={boot}", f"boot={boot}")
    refused(f"boot@a={boot}")
    refused(f"boot@a={boot}", f"boot={boot}")
    refused(f"root={boot}")
    refused(*[f"part-{number}={boot}" for number in range(17)])


def test_a_signed_set(site, url, root, boot, folder, key):
    """The set's signature speaks for its parts, which need none."""
    site.set("root.img", f"boot={boot}", options=["--sign", key.secret])
    made_root, made_boot = outputs(folder)
    arguments = ("clone", url, made_root, "--part", f"boot={made_boot}", "--key", key.public)
    planned = moonsinter("plan", *arguments[1:])
    result = moonsinter(*arguments)
    assert result.status == 0, result
    assert result.events[-1]["total_bytes_downloaded"] == planned.events[-1]["download_bytes"], "with the signature"
    site.image("boot-1.vfat", images.noise(BOOT_SIZE, "somebody else's"))
    made_root.unlink()
    assert_failed(moonsinter(*arguments), kind="mismatch")
    assert not made_root.exists() and made_boot.read_bytes() == images.noise(BOOT_SIZE, "boot 1")


@pytest.mark.parametrize("kept", ["torn", "gone"])
def test_a_signed_set_takes_no_fixed_chunks(site, url, boot, folder, key, kept):
    """What is demanded of the set is demanded of its parts: nothing is written that SHA-256 does not prove."""
    site.set("root.img", f"boot={boot}", options=["--sign", key.secret])
    table = boot.parent / "boot-1.vfat.chunks"
    content = table.read_bytes()
    table.unlink()
    if kept == "torn":
        table.write_bytes(content[:-1] + b"?")
    made_root, made_boot = outputs(folder)
    assert_failed(moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--key", key.public, "--retry-for", "1s"))
    assert not made_root.exists() and (not made_boot.exists() or not made_boot.read_bytes())


def test_a_device_holds_a_set(url, make_daemon, file_slots, root):
    """Until it has a place for the parts; also where it runs the main image already."""
    shutil.copy(root, file_slots[0])
    daemon = make_daemon(url, file_slots).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the set is held")
    assert [block["what"] for block in status["blocked_by"]] == ["part-unknown"]
    daemon.post("install")
    daemon.wait(lambda status: status["state"] == "held", "it is still held")
    assert os.path.getsize(file_slots[1]) == 0
