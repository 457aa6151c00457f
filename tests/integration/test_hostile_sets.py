# SPDX-License-Identifier: MIT
"""Sets from servers that lie, that are replaced while they are read, and into outputs that somebody mistyped."""
import fcntl
import json
import os
import pathlib
import resource
import signal

import pytest

import evil_server
import images
import media
import programs
from programs import IMPATIENT, assert_failed, moonsinter, start_moonsinter, wait_until
from set_site import BOOT_SIZE, ROOT_SIZE, Site, boot, outputs, root, sha256, site, url

pytestmark = pytest.mark.sanitized


def part_options(parts):
    return [word for part in parts for word in ("--part", part)]


@pytest.fixture
def evil(server, folder):
    """The same publisher, on a server that misbehaves on request."""
    made = Site(folder / "www", server.url)
    made.server = server
    made.boot = made.image("boot.vfat", images.noise(BOOT_SIZE, "boot"))
    made.root = made.image("root.img", images.noise(ROOT_SIZE, "root"))
    made.address = made.set("root.img", f"boot={made.boot}")
    return made


# ---- outputs ----


@pytest.mark.parametrize("names", [("out", "./out"), ("out", "link"), ("link", "way/link"), ("way/out", "{folder}/out")], ids=str)
@pytest.mark.parametrize("verb", ["clone", "plan"])
def test_two_names_of_an_output_that_is_not_there_yet(url, folder, names, verb):
    (folder / "link").symlink_to("out")
    (folder / "way").symlink_to(".")
    main, part = (name.format(folder=folder) for name in names)
    assert_failed(moonsinter(verb, url, main, "--part", f"boot={part}", cwd=folder), kind="refused")
    assert not (folder / "out").exists(), "it is refused before it is made"


def test_outputs_that_look_alike(url, folder, root, boot):
    """In folders that are not there yet, which plan does not mind; and of one name in two folders."""
    assert moonsinter("plan", url, folder / "new" / "root", "--part", f"boot={folder / 'new' / 'boot'}").status == 0
    for name in "ab":
        (folder / name).mkdir()
    assert moonsinter("clone", url, folder / "a" / "image", "--part", f"boot={folder / 'b' / 'image'}").status == 0
    assert (folder / "a" / "image").read_bytes() == root.read_bytes()
    assert (folder / "b" / "image").read_bytes() == boot.read_bytes()


def test_an_output_that_becomes_another(evil, folder, monkeypatch):
    """Two names whose difference means nothing to the file system; here the one becomes a link to the other."""
    made_root, made_boot = outputs(folder)

    def link(handler):
        made_root.symlink_to(made_boot)
        handler.send(handler.answer())
    monkeypatch.setattr(evil_server.Handler, "evil_linked", link, raising=False)
    evil.server.behave("boot.vfat.json", "linked")
    assert_failed(moonsinter("clone", evil.address, made_root, "--part", f"boot={made_boot}"), kind="refused")
    assert not made_boot.exists() or not made_boot.read_bytes()


@pytest.mark.parametrize("bad", ["/dev/moonsinter-none", "folder", "missing/out", "pipe", "locked"])
@pytest.mark.parametrize("main", [True, False], ids=["main", "part"])
def test_an_output_that_cannot_be_written(url, folder, bad, main):
    """The other images are not written either, though they are made before."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with open(folder / "locked", "wb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        made = folder / "made"
        made.write_bytes(b"of another release")
        names = (bad, made) if main else (made, bad)
        assert_failed(moonsinter("clone", url, names[0], "--part", f"boot={names[1]}", cwd=folder))
        assert made.read_bytes() == b"of another release"


def test_an_output_within_another(url, folder, disks):
    """A disk and one of its partitions are not one device, and yet one would be written over the other."""
    disk = disks("disk", 8 << 20)
    result = moonsinter("clone", url, disk.device, "--part", f"boot={disk.part('a')}")
    assert_failed(result, kind="refused")


def test_names_with_odd_bytes(url, folder, boot):
    made_root = folder / "root = @a"
    made_boot, seed = folder / "a=b @a é'\n", folder / "s =@"
    seed.write_bytes(boot.read_bytes())
    result = moonsinter("clone", url, made_root, "--part", f"boot={made_boot},{seed}")
    assert result.status == 0 and made_boot.read_bytes() == boot.read_bytes()


def test_published_names_with_odd_bytes(site, folder):
    parts = {f"p{number}": site.image(name, images.noise(30_000, name))
             for number, name in enumerate(["a b.img", "100%.img", "q?x#y.img", "é\n.img", "..img", "x.json", "c:d", "=@,"])}
    site.image("root #1.img", images.noise(50_000, "r"))
    site.set("root #1.img", *[f"{name}={path}" for name, path in parts.items()])
    result = moonsinter("clone", site.url("root%20%231.img"), folder / "root",
                        *part_options(f"{name}={folder / name}" for name in parts))
    assert result.status == 0, result
    for name, path in parts.items():
        assert (folder / name).read_bytes() == path.read_bytes()
    verified = moonsinter("verify", folder / "root", site.www / "root #1.img.json",
                          *part_options(f"{name}={folder / name}" for name in parts))
    assert verified.status == 0, verified


def test_verify_takes_no_seeds(url, folder, root, boot):
    """Whoever writes a comma means a name with one, or a file that would not be looked at."""
    (folder / "boot,1").write_bytes(boot.read_bytes())
    (folder / "boot").write_bytes(boot.read_bytes())
    assert_failed(moonsinter("verify", root, f"{root}.json", "--part", f"boot={folder / 'boot,1'}"), status=2)


# ---- signals ----


def interrupted(process, held):
    """Sends SIGINT to a process that waits for the file `held`, and lets it go on."""
    wait_until(lambda: held.stat().st_size, "it waits")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: pathlib.Path(f"/proc/{process.pid}/status").read_text().split("ShdPnd:\t")[1][:16] == "0" * 16, "it is handled")
    held.unlink()
    events = [json.loads(line) for line in process.stdout]
    process.stderr.close()
    return process.wait(), events[-1]


def test_a_signal_between_two_images(url, folder, boot):
    """What was asked to stop does not go on with the next image."""
    made_root, made_boot = outputs(folder)
    seed, held = folder / "seed", folder / "held"
    seed.write_bytes(b"seed")
    held.write_bytes(b"")
    process = start_moonsinter("clone", url, made_root, "--part", f"boot={made_boot},{seed}",
                               env=media.environment(folder, [(seed, f"hang-close@{held}")]))
    status, last = interrupted(process, held)
    assert (status, last["event"], last["kind"]) == (128 + signal.SIGINT, "failed", "cancelled")
    assert made_boot.read_bytes() == boot.read_bytes() and made_root.read_bytes() == b""
    again = moonsinter("clone", url, made_root, "--part", f"boot={made_boot}")
    assert again.status == 0 and again.events[-1]["total_bytes_written"] == ROOT_SIZE, "what was made is kept"


def test_verify_is_interrupted_between_two_images(site, folder, boot):
    """What was not looked at is not said to be right."""
    small = site.image("small.img", images.noise(100_000, "read at once"))
    site.set("small.img", f"boot={boot}")
    held = folder / "held"
    held.write_bytes(b"")
    (folder / "boot").write_bytes(b"another" + boot.read_bytes()[7:])
    process = start_moonsinter("verify", small, f"{small}.json", "--part", f"boot={folder / 'boot'}",
                               env=media.environment(folder, [(small, f"hang-read@{held}")]))
    status, last = interrupted(process, held)
    assert (status, last["event"], last["kind"]) == (128 + signal.SIGINT, "failed", "cancelled")


# ---- replaced while it is read ----


@pytest.fixture(params=[".json", ".chunks"])
def tidied(request, evil, key, monkeypatch):
    """The URL and the key of a set with another part, which is gone, and the next set there, when this file of that part is asked for."""
    other = evil.image("other-1", images.noise(50_000, "other 1"))
    signed = ["--sign", key.secret]
    url = evil.set("root.img", f"boot={evil.boot}", f"other={other}", options=signed)

    def publish(handler):
        if other.exists():
            for name in ("other-1", "other-1.json", "other-1.chunks"):
                (evil.www / name).unlink()
            next_one = evil.image("other-2", images.noise(50_000, "other 2"))
            evil.set("root.img", f"boot={evil.boot}", f"other={next_one}", options=signed)
        handler.send(handler.answer())
    monkeypatch.setattr(evil_server.Handler, "evil_tidied", publish, raising=False)
    evil.server.behave(f"other-1{request.param}", "tidied")
    return [url, "--key", key.public]


def test_the_part_is_gone_when_its_turn_comes(tidied, folder):
    """The publisher has tidied up meanwhile: the next set is read."""
    made_root, made_boot = outputs(folder)
    result = moonsinter("clone", *tidied, made_root, *part_options([f"boot={made_boot}", f"other={folder / 'other'}"]))
    assert result.status == 0, result
    assert (folder / "other").read_bytes() == images.noise(50_000, "other 2")
    assert result.events[-1]["total_bytes_written"] == ROOT_SIZE + BOOT_SIZE + 50_000, "nothing is written twice"


def test_a_set_is_replaced_while_it_is_planned(tidied, folder, request):
    """What the plan says in the end is of the set that it read last."""
    made_root, made_boot = outputs(folder)
    result = moonsinter("plan", *tidied, made_root, *part_options([f"boot={made_boot}", f"other={folder / 'other'}"]))
    assert result.status == 0, result
    # All manifests are read before anything is planned, the tables as each image is.
    before = ["boot", "other"] if "chunks" in request.node.name else []
    assert [event["value"] for event in result.named("part")] == [*before, "boot", "other", "root"]
    assert len(result.named("plan_sum")) == 1
    assert result.events[-1]["download_bytes"] == sum(event["download_bytes"] for event in result.named("plan")[-3:])


def test_a_part_that_was_never_there(evil, folder):
    """As for the table of a single image: the manifest is read once more, and then it is an error."""
    (evil.www / "boot.vfat.json").unlink()
    made_root, made_boot = outputs(folder)
    result = moonsinter("clone", evil.address, made_root, "--part", f"boot={made_boot}")
    assert_failed(result, "boot.vfat.json", "404", kind="remote")
    assert evil.server.stats()["paths"]["/root.img.json"]["requests"] == 2
    assert not made_root.exists() and not made_boot.exists()


def test_what_the_parts_before_brought_counts(evil, folder, monkeypatch):
    """The time for tries is that without progress, and each round made a part, which took longer."""
    other = {number: evil.image(f"other-{number}", images.noise(50_000, f"other {number}")) for number in "123"}
    boots = {number: evil.image(f"boot-{number}", images.noise(BOOT_SIZE, f"boot {number}")) for number in "123"}

    def set_of(number):
        return evil.set("root.img", f"boot={boots[number]}", f"other={other[number]}")

    def replace(handler):
        number = handler.url_path[-1]
        if other[number].exists():
            other[number].unlink()
            set_of({"1": "2", "2": "3"}[number])
        handler.send(handler.answer())
    monkeypatch.setattr(evil_server.Handler, "evil_replaced", replace, raising=False)
    evil.server.behave("other-1", "replaced")
    evil.server.behave("other-2", "replaced")
    made_root, made_boot = outputs(folder)
    result = moonsinter("clone", set_of("1"), made_root, *part_options([f"boot={made_boot}", f"other={folder / 'other'}"]),
                        "--rate-limit", "300K", "--retry-for", "2s")
    assert result.status == 0, result
    assert made_boot.read_bytes() == boots["3"].read_bytes()
    assert [event["value"] for event in result.named("part")] == 2 * ["boot", "other", "root", "boot", "other"] + 2 * ["boot", "other", "root"]


@pytest.mark.parametrize("behaviour", ["endless", "page", "short", "changing", "redirect-loop", "redirect-file", "old-sometimes", "304"])
def test_a_parts_manifest_is_not_what_it_should_be(evil, folder, behaviour):
    """Nothing of it is written, and what is read is bounded."""
    evil.server.behave("boot.vfat.json", behaviour)
    made_root, made_boot = outputs(folder)
    result = moonsinter("clone", evil.address + "?after=0", made_root, "--part", f"boot={made_boot}", *IMPATIENT)
    if behaviour == "old-sometimes":
        assert result.status == 0, result
        return
    assert_failed(result)
    assert not made_root.exists() and not made_boot.exists()
    assert evil.server.stats()["bytes"] < 200e6


# ---- other servers ----


def test_a_token_goes_to_the_sets_own_server_only(evil, folder):
    (folder / "elsewhere").mkdir()
    with evil_server.EvilServer(folder / "elsewhere") as elsewhere:
        far = Site(folder / "elsewhere", elsewhere.url).image("far.img", images.noise(40_000, "far"))
        manifest = pathlib.Path(f"{far}.json").read_bytes()
        text = json.loads((evil.www / "root.img.json").read_bytes())
        for name, start in ("far", f"http://127.0.0.1:{elsewhere.port}"), ("near", f"//127.0.0.1:{elsewhere.port}"):
            text["moonsinter"]["parts"].append({"name": name, "manifest": {
                "url": start + "/far.img.json", "size": len(manifest), "sha256": sha256(manifest)}})
        (evil.www / "root.img.json").write_text(json.dumps(text))
        evil.server.demand("token=secret")
        address = evil.address.replace("http://", "http://user:word@")
        made_root, made_boot = outputs(folder)
        result = moonsinter("clone", address + "?token=secret", made_root, "--header", "X-Key: secret",
                            *part_options([f"boot={made_boot}", f"far={folder / 'far'}", f"near={folder / 'near'}"]))
        assert result.status == 0, result
        assert made_boot.read_bytes() == evil.boot.read_bytes() and (folder / "near").read_bytes() == far.read_bytes()
        asked = elsewhere.asked
        assert asked and not [line for line in asked if "secret" in str(line) or "Basic" in str(line)], asked
        assert "secret" not in result.stdout + result.stderr


def test_a_part_that_leads_to_the_set_itself(evil, folder):
    """Its SHA-256 cannot be in it, so that it is never read as a part."""
    text = json.loads((evil.www / "root.img.json").read_bytes())
    text["moonsinter"]["parts"][0]["manifest"]["url"] = "root.img.json"
    (evil.www / "root.img.json").write_text(json.dumps(text))
    made_root, made_boot = outputs(folder)
    assert_failed(moonsinter("clone", evil.address, made_root, "--part", f"boot={made_boot}", *IMPATIENT), kind="mismatch")
    assert not made_root.exists() and not made_boot.exists()


@pytest.mark.parametrize("reference", ["http:far.json", "ftp://host/far.json", "//:80/far.json"])
def test_a_reference_that_leads_nowhere(evil, folder, reference):
    """It is refused before the parts that stand before it are made."""
    text = json.loads((evil.www / "root.img.json").read_bytes())
    text["moonsinter"]["parts"].append({"name": "far", "manifest": {"url": reference, "size": 500, "sha256": "0" * 64}})
    (evil.www / "root.img.json").write_text(json.dumps(text))
    made_root, made_boot = outputs(folder)
    result = moonsinter("clone", evil.address, made_root, *part_options([f"boot={made_boot}", f"far={folder / 'far'}"]))
    assert_failed(result, kind="refused")
    assert not made_root.exists() and not made_boot.exists()


# ---- what it takes ----


def test_planned_and_done_to_the_byte(evil, folder, key):
    """With manifests, the signature, packs, and what is a seed of several parts; also what the server counts."""
    old = evil.image("old", images.noise(400_000, "old"))
    parts = {}
    for number in range(3):
        parts[f"p{number}"] = evil.image(f"p{number}.img", images.noise(200_000, number) + old.read_bytes()[number * 1000:])
        assert moonsinter("generate", parts[f"p{number}"], "--pack", "--base", old).status == 0
    url = evil.set("root.img", *[f"{name}={path}" for name, path in parts.items()], options=["--pack", "--sign", key.secret])
    arguments = [url, folder / "root", "--key", key.public, *part_options(f"{name}={folder / name},{old}" for name in parts)]
    planned = moonsinter("plan", *arguments)
    assert planned.status == 0
    evil.server.reset_stats()
    result = moonsinter("clone", *arguments)
    assert result.status == 0, result
    assert result.events[-1]["total_bytes_downloaded"] == planned.events[-1]["download_bytes"] == evil.server.stats()["bytes"]
    assert result.events[-1]["requests"] == evil.server.stats()["requests"]


def test_a_signature_beside_a_part_is_no_sets_signature(evil, folder, key):
    assert moonsinter("generate", evil.boot, "--sign", key.secret).status == 0
    url = evil.set("root.img", f"boot={evil.boot}")
    made_root, made_boot = outputs(folder)
    assert_failed(moonsinter("clone", url, made_root, "--part", f"boot={made_boot}", "--key", key.public), kind="refused")
    assert not made_root.exists() and not made_boot.exists()


def fat_set(site, count, image_size):
    """Parts of zeros with manifests of nine times their size."""
    image = site.www / "zeros"
    image.write_bytes(bytes(image_size))
    assert moonsinter("generate", image, "1").status == 0
    assert os.stat(f"{image}.json").st_size > 9 * image_size
    return site.set("root.img", *[f"p{number}={image}" for number in range(count)])


def outputs_of(folder, count):
    return part_options(f"p{number}={folder / str(number)}" for number in range(count))


def test_what_sixteen_parts_take(site, root, folder):
    """Of memory their manifests, and one open file each."""
    if programs.SANITIZED:
        pytest.skip("a sanitizer keeps what was freed")

    def peak(count):
        url = fat_set(site, count, 75_000)
        files = 20 + count
        process = start_moonsinter("clone", url, folder / "root", *outputs_of(folder, count),
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        events = process.stdout.read().splitlines()
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, events[-1]
        return usage.ru_maxrss * 1024
    one = peak(1)
    sixteen = peak(16)
    assert sixteen < one + 15 * 2 * 9 * 75_000, f"{one} and {sixteen} bytes"


def test_manifests_that_are_too_large_together(site, root, folder):
    """They are refused before one of them is asked for."""
    result = moonsinter("plan", fat_set(site, 2, 1_000_000), folder / "root", *outputs_of(folder, 2))
    assert_failed(result, "bytes together", kind="refused")
    assert not result.named("part")
