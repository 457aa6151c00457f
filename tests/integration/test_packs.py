# SPDX-License-Identifier: MIT
"""Updates from a pack: what is fetched, that the plan says so before, and what becomes of packs that are not right."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import images
import programs
from conditions import installed
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest

pytestmark = pytest.mark.sanitized

MEBIBYTE = 1 << 20


def text(size, seed):
    """Bytes that compress, of which no longer part repeats."""
    source = images.noise(size // 2, seed)
    return source.hex().encode()[:size]


def old_and_new(size=6_000_000):
    """Two releases: noise and text, changed in places, with something new at the end."""
    old = images.noise(size // 2, "noise") + text(size // 2, "text")
    return old, images.changed(old, "upgrade", edits=12) + text(300_000, "more")


def make_pair(folder, *options, size=6_000_000):
    """A seed that holds the old release, and the new one generated with `options` and the old one as base."""
    old, new = old_and_new(size)
    seed = folder / "old"
    seed.write_bytes(old)
    return seed, new, make_release(folder / "release", new, options=[*options, "--base", seed])


def done(result):
    assert result.status == 0, result
    return result.events[-1]


def sent(nginx, suffix=""):
    nginx.wait_for_silence()
    return sum(request.body_bytes for request in nginx.requests(f"/image{suffix}"))


def all_sent(nginx):
    nginx.wait_for_silence()
    return sum(request.body_bytes for request in nginx.requests())


def plan_of(result):
    assert result.status == 0, result
    return result.named("plan")[0]


def clone_and_compare(nginx, url, folder, new, *seeds):
    """Plans and clones; both say the same, the server sent just that, and the result is right. Returns the plan."""
    planned = plan_of(moonsinter("plan", url, folder / "out", *seeds))
    nginx.forget()
    result = moonsinter("clone", url, folder / "out", *seeds)
    last = done(result)
    assert (folder / "out").read_bytes() == new
    plan = plan_of(result)
    assert plan == planned
    assert all_sent(nginx) == plan["download_bytes"] == last["total_bytes_downloaded"]
    assert len(nginx.requests()) == plan["requests"] + plan["requests_before"] + 1 == last["requests"]
    assert plan["bytes_kept"] + plan["bytes_copied"] + plan["bytes_patched"] + plan["bytes_fetched"] == len(new)
    numbers = [event["value"] for event in result.events
               if programs.event_name(event) in ("skip_chunk", "cp_chunk", "patch_chunk", "dl_chunk")]
    assert sorted(numbers) == list(range(1, result.named("total_chunks")[0]["value"] + 1)), "each chunk once"
    assert not result.named("pack_skipped") and not result.named("table_skipped")
    return plan


# --- what is fetched ----------------------------------------------------------------------------------------------

@pytest.mark.fast
@pytest.mark.parametrize("options", [(), ("--pack",)], ids=["patches", "patches-and-chunks"])
def test_an_update_by_patches_is_planned_to_the_byte(nginx, folder, options):
    seed, new, release = make_pair(folder, *options)
    plan = clone_and_compare(nginx, nginx.publish(release), folder, new, seed)
    assert plan["bytes_patched"] > 100_000
    assert plan["patch_bytes"] < 0.2 * plan["bytes_patched"], "patches are small where little changed"
    assert plan["table_bytes"] == 0, "the table came as a difference"
    assert sent(nginx) == (0 if options else plan["chunk_bytes"])


def test_chunks_come_compressed_from_the_pack_and_nobody_asks_for_the_image(nginx, folder):
    _, new = old_and_new()
    release = make_release(folder / "release", new, options=["--pack"])
    os.unlink(release)
    plan = clone_and_compare(nginx, nginx.publish(release), folder, new)
    assert plan["bytes_fetched"] == len(new)
    assert plan["chunk_bytes"] < 0.85 * len(new), "half of it is text"
    assert plan["requests"] < 20, "neighbours are fetched together"


def test_without_a_base_at_hand_chunks_are_fetched(nginx, folder):
    _, new, release = make_pair(folder)
    stranger = folder / "stranger"
    stranger.write_bytes(images.noise(1_000_000, "stranger"))
    plan = clone_and_compare(nginx, nginx.publish(release), folder, new, stranger)
    assert plan["bytes_patched"] == plan["section_bytes"] == 0
    assert sent(nginx) == plan["chunk_bytes"] == len(new)


def test_the_base_that_fits_is_chosen_of_several(nginx, folder):
    old, new = old_and_new()
    older = images.changed(old, "older", edits=40)
    for name, data in (("old", old), ("older", older)):
        (folder / name).write_bytes(data)
    release = make_release(folder / "release", new, options=["--base", folder / "older", "--base", folder / "old"])
    url = nginx.publish(release)
    for name in ("old", "older"):
        plan = clone_and_compare(nginx, url, folder, new, folder / name)
        assert plan["bytes_patched"] > 100_000 and plan["bytes_fetched"] == 0
        os.unlink(folder / "out")


def test_a_seed_modified_in_places_costs_what_it_touched(nginx, folder):
    seed, new, release = make_pair(folder)
    url = nginx.publish(release)
    whole = clone_and_compare(nginx, url, folder, new, seed)
    os.unlink(folder / "out")
    with open(seed, "r+b") as file:
        for at in (100_000, 2_000_000, 4_500_000):
            file.seek(at)
            file.write(b"modified" * 100)
    plan = clone_and_compare(nginx, url, folder, new, seed)
    # A chunk has 128 KiB at most; around a modification a patch may be lost, and a block of the table.
    assert plan["download_bytes"] <= whole["download_bytes"] + 3 * (256 << 10) + 3 * 256 * 44
    assert plan["bytes_patched"] > 0


def test_the_targets_own_old_content_is_patched_in_place(nginx, folder):
    old, new = old_and_new()
    (folder / "old").write_bytes(old)
    release = make_release(folder / "release", new, options=["--base", folder / "old"])
    (folder / "out").write_bytes(old)
    plan = clone_and_compare(nginx, nginx.publish(release), folder, new)
    assert plan["bytes_patched"] > 50_000
    assert plan["download_bytes"] < 0.3 * len(new)


def test_a_second_clone_fetches_no_data(nginx, folder):
    seed, new, release = make_pair(folder, "--pack")
    url = nginx.publish(release)
    clone_and_compare(nginx, url, folder, new, seed)
    plan = clone_and_compare(nginx, url, folder, new, seed)
    assert plan["bytes_kept"] == len(new)
    assert plan["requests"] == plan["chunk_bytes"] == plan["patch_bytes"] == 0


# --- real file systems --------------------------------------------------------------------------------------------

def make_file_system(path, tree):
    """An ext4 image of a folder's files, the same for the same files."""
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-U", "8f0b0e44-5d3f-4d5c-9a1e-3b9f2a7c1d10",
                    "-E", "hash_seed=8f0b0e44-5d3f-4d5c-9a1e-3b9f2a7c1d10,root_owner=0:0", "-d", tree, path, "96M"],
                   check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000",
                                    "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})


@pytest.mark.skipif(not shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin"), reason="e2fsprogs is missing")
def test_a_file_system_with_some_files_upgraded_costs_a_hundredth(nginx, folder):
    tree = folder / "tree"
    tree.mkdir()
    total = 0
    for file in sorted(pathlib.Path("/usr/bin").iterdir()):
        if file.is_file() and not file.is_symlink() and 50_000 < file.stat().st_size < 4_000_000:
            shutil.copyfile(file, tree / file.name)
            total += file.stat().st_size
        if total > 50_000_000:
            break
    make_file_system(folder / "old", tree)
    for number, file in enumerate(sorted(tree.iterdir())):
        if number % 40 == 0:
            file.write_bytes(images.changed(file.read_bytes(), f"upgrade {number}", edits=5))
    make_file_system(folder / "image", tree)
    release = make_release(folder / "release", folder / "image", options=["--base", folder / "old"])
    url = nginx.publish(release)
    process = programs.start_moonsinter("clone", url, folder / "out", folder / "old")
    plan, peak = None, 0
    for line in process.stdout:
        if '"cp_chunk"' not in line:
            peak = max(peak, programs.peak_rss_kib(process.pid) or 0)
        if '"plan"' in line:
            plan = json.loads(line)
    assert process.wait(20) == 0
    assert all_sent(nginx) == plan["download_bytes"]
    assert plan["download_bytes"] < 0.01 * os.path.getsize(folder / "image")
    assert plan["requests"] + plan["requests_before"] < 10
    with open(folder / "out", "rb") as have, open(folder / "image", "rb") as want:
        while block := want.read(MEBIBYTE):
            assert have.read(MEBIBYTE) == block
        assert not have.read(1)
    if not programs.SANITIZED:
        assert 5 << 10 < peak < 32 << 10, "KiB"


# --- killed and resumed -------------------------------------------------------------------------------------------

def test_a_killed_update_resumes_within_its_plan(make_nginx, folder):
    nginx = make_nginx("limit_rate 1m;")
    old = images.noise(4_000_000, "old")
    new = images.changed(old, "upgrade", edits=12) + images.noise(9_000_000, "more")
    (folder / "old").write_bytes(old)
    release = make_release(folder / "release", new, options=["--pack", "--base", folder / "old"])
    url = nginx.publish(release)
    planned = plan_of(moonsinter("plan", url, folder / "out", folder / "old"))
    nginx.wait_for_silence()
    nginx.forget()
    kills = 0
    for wanted in (1, 3, 5):
        process = programs.start_moonsinter("clone", url, folder / "out", folder / "old")
        seen = 0
        for line in process.stdout:
            seen += '"dl_chunk"' in line or '"patch_chunk"' in line
            if seen >= wanted * 12:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20 * programs.PATIENCE)
        assert process.returncode == -signal.SIGKILL, "the clone was over before the kill"
        kills += 1
    done(moonsinter("clone", url, folder / "out", folder / "old"))
    assert (folder / "out").read_bytes() == new
    assert sent(nginx, ".pack") <= planned["download_bytes"] + kills * (8 * MEBIBYTE + planned["section_bytes"])


# --- packs that are not right -------------------------------------------------------------------------------------

def damage(path, start, size, data=None):
    """Overwrites a part of a file, by a new file, as a publisher would."""
    content = bytearray(pathlib.Path(path).read_bytes())
    content[start:start + size] = data if data is not None else bytes(byte ^ 0xff for byte in content[start:start + size])
    os.unlink(path)
    pathlib.Path(path).write_bytes(content)


def test_corrupt_patches_cost_their_chunks(nginx, folder):
    seed, new, release = make_pair(folder)
    base = read_manifest(release)["moonsinter"]["pack"]["bases"][0]
    damage(f"{release}.pack", base["patches"], base["index"]["offset"] - base["patches"])
    result = moonsinter("clone", nginx.publish(release), folder / "out", seed)
    done(result)
    assert (folder / "out").read_bytes() == new
    assert not result.named("patch_chunk") and result.named("dl_chunk")
    assert plan_of(result)["bytes_patched"] > 0
    assert sent(nginx) == sum(event["size"] for event in result.named("dl_chunk")), "each chunk once"


def test_one_corrupt_patch_costs_no_other(nginx, folder):
    seed, new, release = make_pair(folder, "--pack")
    base = read_manifest(release)["moonsinter"]["pack"]["bases"][0]
    damage(f"{release}.pack", base["patches"] + 20, 4)
    result = moonsinter("clone", nginx.publish(release), folder / "out", seed)
    done(result)
    assert (folder / "out").read_bytes() == new
    assert result.named("patch_chunk") and result.named("dl_chunk")
    assert all_sent(nginx) == done(result)["total_bytes_downloaded"]


def test_corrupt_chunks_are_never_written(nginx, folder):
    _, new, release = make_pair(folder, "--pack")
    frames = read_manifest(release)["moonsinter"]["pack"]["frames"]
    damage(f"{release}.pack", 8 + 100_000, 5000)
    assert 105_008 < frames["offset"]
    result = moonsinter("clone", nginx.publish(release), folder / "out", *programs.IMPATIENT)
    assert_failed(result, "image.pack", "manifest")
    out = (folder / "out").read_bytes()
    assert out != new
    for start in range(0, len(out), 1024):
        block = out[start:start + 1024]
        if block != new[start:start + 1024]:
            right = [have in (want, 0) for have, want in zip(block, new[start:])]
            assert all(right), "what was written is the image's, and the rest is a hole"


@pytest.mark.parametrize("harm", ["flipped", "missing", "truncated", "other"])
def test_an_index_that_cannot_be_used_costs_the_patches_only(nginx, folder, harm):
    seed, new, release = make_pair(folder)
    pack = pathlib.Path(f"{release}.pack")
    index = read_manifest(release)["moonsinter"]["pack"]["bases"][0]["index"]
    if harm == "flipped":
        damage(pack, index["offset"] + index["size"] // 2, 1)
    elif harm == "missing":
        pack.unlink()
    elif harm == "truncated":
        damage(pack, index["offset"] + 5, index["size"] - 5, b"")
    else:
        other = make_release(folder / "other", images.noise(2_000_000, "other"), options=["--base", seed])
        pack.unlink()
        pack.write_bytes(pathlib.Path(f"{other}.pack").read_bytes())
    result = moonsinter("clone", nginx.publish(release), folder / "out", seed)
    done(result)
    assert (folder / "out").read_bytes() == new
    assert len(result.named("pack_skipped")) == 1
    assert plan_of(result)["bytes_patched"] == 0
    assert all_sent(nginx) >= plan_of(result)["download_bytes"]


@pytest.mark.parametrize("harm", ["flipped", "truncated", "other"])
def test_frames_that_are_not_the_manifests_are_a_failure(nginx, folder, harm):
    _, new, release = make_pair(folder, "--pack")
    pack = pathlib.Path(f"{release}.pack")
    frames = read_manifest(release)["moonsinter"]["pack"]["frames"]
    if harm == "flipped":
        damage(pack, frames["offset"] + frames["size"] // 2, 1)
    elif harm == "truncated":
        damage(pack, frames["offset"], 10**9, b"")
    else:
        other = make_release(folder / "other", images.noise(2_000_000, "other"), options=["--pack"])
        pack.unlink()
        pack.write_bytes(pathlib.Path(f"{other}.pack").read_bytes())
    assert_failed(moonsinter("clone", nginx.publish(release), folder / "out", *programs.IMPATIENT), "pack")
    assert not (folder / "out").exists() or (folder / "out").read_bytes() != new


def test_a_pack_replaced_under_way_is_another_release(make_nginx, folder):
    nginx = make_nginx("limit_rate 1m;")
    first = images.noise(12_000_000, "first")
    second = images.changed(first, "second", edits=6)
    one = make_release(folder / "one", first, version="1", options=["--pack"])
    two = make_release(folder / "two", second, version="2", options=["--pack"])
    url = nginx.publish(one)
    process = programs.start_moonsinter("clone", url, folder / "out")
    for line in process.stdout:
        if '"dl_chunk"' in line:
            break
    nginx.publish(two)
    rest, stderr = process.communicate(timeout=120 * programs.PATIENCE)
    assert process.returncode == 0, stderr
    assert rest.count('"dl_manifest_end"') == 1, "the manifest was read again"
    assert (folder / "out").read_bytes() == second


# --- the daemon ---------------------------------------------------------------------------------------------------

def test_the_daemon_counts_the_pack_before_it_fetches_and_fetches_nothing_twice(nginx, folder, file_slots, make_daemon):
    old, new = old_and_new()
    (folder / "old").write_bytes(old)
    release = make_release(folder / "release", new, version="2", options=["--base", folder / "old"])
    file_slots[0].write_bytes(old)
    url = nginx.publish(release)
    daemon = make_daemon(url, file_slots, mode="install", Transfer={"MaxBytesPerUpdate": "10K"}).start()
    status = daemon.wait(lambda status: status["state"] == "held" and status["blocked_by"], "held by its size")
    assert "MaxBytesPerUpdate" in status["blocked_by"][0]["why"]
    status, plan = daemon.request("GET", "/v1/plan")
    assert status == 200 and plan["bytes_patched"] > 100_000 and plan["patch_bytes"] > 0
    assert plan["bytes_to_download"] == sum(plan[f"{what}_bytes"] for what in ("chunk", "patch", "gap", "section", "table"))
    nginx.wait_for_silence()
    assert sent(nginx, ".pack") == plan["section_bytes"], "only what it took to plan"
    daemon.settings["Transfer"] = {"MaxBytesPerUpdate": "1M"}
    daemon.write_config()
    daemon.reload()  # the server is asked at once, where nothing holds the release any longer
    daemon.wait(installed("2"), "installed")
    assert sent(nginx, ".pack") + sent(nginx) + sent(nginx, ".chunks") == plan["bytes_to_download"]
    assert file_slots[1].read_bytes()[:len(new)] == new


def test_patches_that_fail_are_paid_for_once(nginx, folder, file_slots, make_daemon):
    """A budget that is used up by patches of no use is not used up again: the next plan does without them."""
    seed, new, release = make_pair(folder)
    base = read_manifest(release)["moonsinter"]["pack"]["bases"][0]
    damage(f"{release}.pack", base["patches"], base["index"]["offset"] - base["patches"])
    url = nginx.publish(release)
    planned = plan_of(moonsinter("plan", url, folder / "out", seed))
    assert planned["bytes_patched"] > 200_000
    file_slots[0].write_bytes(seed.read_bytes())
    budget = planned["download_bytes"] + 10_000
    daemon = make_daemon(url, file_slots, mode="install", Transfer={"MaxBytesPerUpdate": str(budget), "RateLimit": "300K"}).start()

    def held_by_budget(word):
        return lambda status: (status["state"] == "held" and [block["what"] for block in status["blocked_by"]] == ["max-bytes"]
                               and word in status["blocked_by"][0]["why"])
    status = daemon.wait(held_by_budget("already"), "the budget is used up")
    assert status["last_update"]["result"] == "failed"
    before = sent(nginx, ".pack")
    daemon.post("check")
    daemon.wait(held_by_budget("would download"), "the next plan is too large")
    assert sent(nginx, ".pack") == before, "nothing of it is fetched again"
