# SPDX-License-Identifier: MIT
"""Media that cannot be read in one way or another, and what they cost."""
import itertools
import os
import pathlib
import shutil
import subprocess

import pytest

import images
import media
from conditions import installed
from programs import MOONSINTER, Result, assert_failed, moonsinter
from releases import make_release


@pytest.fixture
def bad(folder):
    """bad((path, fault), ...) gives the environment of a program that sees these faults."""
    return lambda *faults: media.environment(folder, faults)


# ---- past the page cache ----

@pytest.mark.parametrize("fault", ("no-direct", "refuse-direct"))
def test_a_file_that_knows_no_o_direct_is_read_back_otherwise_and_that_is_said(nginx, small_release, folder, bad, fault):
    image, content = small_release
    output = folder / "output"
    environment = bad((output, fault))
    result = moonsinter("clone", nginx.publish(image), output, env=environment)
    assert result.status == 0 and output.read_bytes() == content, result
    assert len(result.named("read_back_cached")) == 1, result
    result = moonsinter("verify", output, f"{image}.json", env=environment)
    assert result.status == 0 and len(result.named("read_back_cached")) == 1, result


def test_nothing_is_said_where_the_cache_can_be_passed_by(nginx, small_release, loops):
    device = loops.attach(8 << 20)
    result = moonsinter("clone", nginx.publish(small_release[0]), device)
    assert result.status == 0 and not result.named("read_back_cached"), result


@pytest.mark.parametrize("fault", ("no-direct", "refuse-direct"))
def test_a_block_device_that_knows_no_o_direct_is_refused_before_the_first_write(nginx, small_release, loops, bad, fault):
    image, _ = small_release
    device = loops.attach(8 << 20)
    environment = bad((device, fault))
    assert_failed(moonsinter("clone", nginx.publish(image), device, env=environment), device, "page cache")
    assert nginx.requests("/image") == []
    assert loops.backing(device).read_bytes() == bytes(8 << 20)
    moonsinter("clone", nginx.url("image"), device)
    assert_failed(moonsinter("verify", device, f"{image}.json", env=environment), device, "page cache")


def test_on_a_real_union_file_system(nginx, small_release, folder):
    """unionfs-fuse opens with O_DIRECT and then cannot read."""
    program = shutil.which("unionfs-fuse") or shutil.which("unionfs")
    if not program or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no unionfs-fuse, or no /dev/fuse")
    image, content = small_release
    branch, union = folder / "branch", folder / "union"
    branch.mkdir()
    union.mkdir()
    mounted = subprocess.run([program, f"{branch}=RW", union], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no FUSE here: {mounted.stderr.strip()}")
    try:
        result = moonsinter("clone", nginx.publish(image), union / "output")
        assert result.status == 0 and (branch / "output").read_bytes() == content, result
        assert moonsinter("verify", union / "output", f"{image}.json").status == 0
    finally:
        subprocess.run(["umount", union], check=True)


# ---- without /proc ----

def without_proc(*arguments):
    """Runs the command where /proc is an empty folder."""
    if os.getuid() != 0:
        pytest.skip("a namespace of mounts needs root")
    script = 'mount -t tmpfs none /proc && exec "$@"'
    command = [str(MOONSINTER), *map(str, arguments)]
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    return Result(command, done.returncode, done.stdout, done.stderr, 0)


@pytest.mark.parametrize("kind", ("file", "block device"))
def test_all_works_without_proc(nginx, small_release, folder, loops, kind):
    image, content = small_release
    output = folder / "output" if kind == "file" else loops.attach(8 << 20)
    result = without_proc("clone", nginx.publish(image), output)
    assert result.status == 0, result
    with open(output, "rb") as file:
        assert file.read(len(content)) == content
    assert without_proc("verify", output, f"{image}.json").status == 0


# ---- what cannot be read ----

BAD = 2_000_000  # lies in the middle of a chunk, most probably
CHUNK_MAX = 128 * 1024


def fetched(result):
    assert result.status == 0, result
    return result.named("plan")[0]["bytes_fetched"]


def test_a_bad_block_of_a_seed_costs_its_chunk(nginx, folder, bad):
    content = images.noise(8_000_000, "a bad seed")
    url = nginx.publish(make_release(folder / "release", content))
    seed, output = folder / "seed", folder / "output"
    seed.write_bytes(b"moved" + content)
    result = moonsinter("clone", url, output, seed, env=bad((seed, f"bad@{BAD}+1")))
    assert output.read_bytes() == content
    assert 0 < fetched(result) <= CHUNK_MAX, result
    [note] = result.named("seed_file_hash_error")
    assert note["seed"] == str(seed) and not result.named("seed_file_hash_end")


def test_bad_blocks_all_over_a_seed_cost_their_chunks(nginx, folder, bad):
    """At its begin and end, side by side, and where a stretch that is known was not yet found."""
    content = images.noise(8_000_000, "a worse seed")
    url = nginx.publish(make_release(folder / "release", content))
    seed, output = folder / "seed", folder / "output"
    seed.write_bytes(content)
    end = len(content) // 4096 * 4096
    for fault in ("bad@0+1", f"bad@{BAD}+100000", f"bad@{end}+1"):
        output.unlink(missing_ok=True)
        result = moonsinter("clone", url, output, seed, env=bad((seed, fault)))
        assert output.read_bytes() == content
        assert 0 < fetched(result) <= 4 * CHUNK_MAX, result


def test_a_bad_sector_of_the_target_is_written_and_nothing_else_is(nginx, folder, bad):
    content = images.noise(8_000_000, "a bad target")
    url = nginx.publish(make_release(folder / "release", content))
    output = folder / "output"
    output.write_bytes(content)
    result = moonsinter("clone", url, output, env=bad((output, f"bad@{BAD}+1")))
    assert output.read_bytes() == content
    assert 0 < fetched(result) <= 2 * CHUNK_MAX, result
    assert len(result.named("dl_chunk")) <= 2 and not result.named("cp_chunk")


def cuts(release):
    """Where the chunks of a release end, from its table: 44 bytes of header, and as many for each."""
    table = pathlib.Path(f"{release}.chunks").read_bytes()
    sizes = [int.from_bytes(table[at:at + 4], "little") for at in range(44, len(table), 44)]
    return list(itertools.accumulate(sizes))


def test_a_bad_sector_that_two_chunks_share_is_written_in_parts(nginx, folder, bad):
    """One of them is copied, the other fetched: neither write covers the sector, which cannot be read for the rest."""
    content = images.noise(8_000_000, "a target that is bad between two chunks")
    release = make_release(folder / "release", content)
    url = nginx.publish(release)
    seed, output = folder / "seed", folder / "output"
    between = [cut for cut in cuts(release) if 1000 < cut % 4096 < 3000][7]
    seed.write_bytes(content[:between])
    output.write_bytes(content)
    result = moonsinter("clone", url, output, seed, env=bad((output, f"bad@{between}+1")))
    assert output.read_bytes() == content and 0 < fetched(result) <= CHUNK_MAX, result
    assert len(result.named("dl_chunk")) == 1 and len(result.named("cp_chunk")) == 1, result


def test_a_target_that_stays_bad_fails(nginx, folder, bad):
    """The page cache could tell otherwise: what cannot be read is not taken for right."""
    content = images.noise(1_000_000, "a target that stays bad")
    output = folder / "output"
    assert_failed(moonsinter("clone", nginx.publish(make_release(folder / "release", content)), output,
                             env=bad((output, "dead"))), str(output), "read")


def test_a_dead_seed_is_given_up_and_told_of_once(nginx, folder, bad):
    content = images.noise(40_000_000, "a dead seed")
    url = nginx.publish(make_release(folder / "release", content))
    seed, output = folder / "seed", folder / "output"
    seed.write_bytes(content)
    result = moonsinter("clone", url, output, seed, env=bad((seed, "dead")))
    assert output.read_bytes() == content
    assert fetched(result) == len(content) and len(result.named("seed_file_hash_error")) == 1, result


def make_upgrade(folder):
    """An old release, and a new one with patches against it: (old, new, path of the new image)."""
    old = images.noise(6_000_000, "old")
    new = images.changed(old, "upgrade", edits=12) + images.noise(300_000, "more")
    base = folder / "base"
    base.write_bytes(old)
    return old, new, make_release(folder / "release", new, options=["--pack", "--base", base])


def test_another_seed_serves_for_the_base_of_a_bad_one(nginx, folder, bad):
    old, new, release = make_upgrade(folder)
    url = nginx.publish(release)
    output, first, second = folder / "output", folder / "first", folder / "second"
    for seed in (first, second):
        seed.write_bytes(old)
    good = moonsinter("plan", url, output, first).named("plan")[0]
    assert good["bytes_patched"] > 100_000
    for fault in [f"bad@{offset}+100000" for offset in range(100_000, 6_000_000, 800_000)] + ["dead"]:
        output.unlink(missing_ok=True)
        result = moonsinter("clone", url, output, first, second, env=bad((first, fault)))
        assert result.status == 0 and output.read_bytes() == new, result
        plan = result.named("plan")[0]
        assert plan["bytes_patched"] == good["bytes_patched"] and plan["chunk_bytes"] == good["chunk_bytes"]
        assert not result.named("pack_skipped")


def test_a_bad_base_costs_what_is_bad_of_it(nginx, folder, bad):
    old, new, release = make_upgrade(folder)
    url = nginx.publish(release)
    seed, output = folder / "seed", folder / "output"
    seed.write_bytes(old)
    good = moonsinter("plan", url, output, seed).named("plan")[0]
    result = moonsinter("clone", url, output, seed, env=bad((seed, f"bad@{BAD}+1")))
    assert result.status == 0 and output.read_bytes() == new, result
    assert result.named("plan")[0]["download_bytes"] <= good["download_bytes"] + 4 * CHUNK_MAX
    assert result.named("plan")[0]["bytes_patched"] > 0 and not result.named("pack_skipped")


# ---- holes ----

TEBIBYTE = 1 << 40


def allocated(path):
    os.sync()
    return os.stat(path).st_blocks * 512


def write_sparse(path, size, pieces):
    with open(path, "wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def test_a_seed_and_an_output_that_are_mostly_holes_are_not_read_whole(nginx, folder):
    content = images.noise(3_000_000, "first") + bytes(6_000_000) + images.noise(3_000_000, "second")
    url = nginx.publish(make_release(folder / "release", content))
    seed, output = folder / "seed", folder / "output"
    write_sparse(seed, TEBIBYTE, [(TEBIBYTE // 2, content[:3_000_000]), (TEBIBYTE - 5_000_000, content[9_000_000:])])
    write_sparse(output, TEBIBYTE, [(TEBIBYTE // 3, images.noise(1_000_000, "something else"))])
    result = moonsinter("clone", url, output, seed)
    assert result.status == 0 and output.read_bytes() == content
    assert fetched(result) <= 3 * CHUNK_MAX, "but for where noise and zeros meet"


def test_a_large_file_is_read_as_far_as_twice_the_image(nginx, folder):
    content = images.noise(1_000_000, "small")
    url = nginx.publish(make_release(folder / "release", content))
    seed, output = folder / "seed", folder / "output"
    images.write_noise(seed, 1 << 28, "large")
    with open(seed, "r+b") as file:
        file.seek(900_000)
        file.write(content)
    assert fetched(moonsinter("clone", url, output, seed)) <= CHUNK_MAX
    trace = folder / "trace"
    done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=pread64", "-o", trace, MOONSINTER, "plan", url, output, seed],
                          capture_output=True, text=True, check=False)
    if "PTRACE" in done.stderr:
        pytest.skip("no strace here")
    offsets = [int(line.rsplit(")", 1)[0].rsplit(", ", 1)[1]) for line in trace.read_text().splitlines() if ") = " in line]
    assert offsets and max(offsets) <= 2 * len(content)


@pytest.mark.parametrize("before", ("nothing", "noise", "a hole"))
def test_runs_of_zeros_stay_holes(nginx, folder, before):
    block = images.noise(4096, "the only block")
    content = bytes(20_000_000) + block + bytes(43_000_000)
    url = nginx.publish(make_release(folder / "release", content))
    output = folder / "output"
    if before == "noise":
        output.write_bytes(images.noise(1_000_000, "what stood there"))
    if before == "a hole":
        write_sparse(output, 70_000_000, [])
    result = moonsinter("clone", url, output)
    assert result.status == 0 and output.read_bytes() == content
    assert allocated(output) <= 2_500_000
    if before == "a hole":
        assert fetched(result) <= CHUNK_MAX


def test_what_a_block_device_reads_as_zeros_is_not_written(nginx, folder, loops):
    """A device that was discarded: its backing file stays a hole."""
    content = bytes(8 << 20) + images.noise(4096, "the only block") + bytes(8 << 20)
    url = nginx.publish(make_release(folder / "release", content))
    device = loops.attach(20 << 20)
    assert moonsinter("clone", url, device).status == 0
    assert loops.backing(device).read_bytes()[:len(content)] == content
    assert allocated(loops.backing(device)) <= 1 << 20


# ---- the daemon ----

def test_a_device_with_bad_slots_is_updated_and_told_of_them(nginx, folder, bad, make_daemon):
    """A bad sector in the running slot costs its chunk, and one in the other is written over."""
    first, second = images.noise(6_000_000, "old"), images.noise(6_000_000, "old") + images.noise(100_000, "more")
    slots = folder / "a", folder / "b"
    slots[0].write_bytes(first)
    slots[1].write_bytes(images.noise(1_000_000, "older") + first)
    url = nginx.publish(make_release(folder / "release", second, version="2", serial=2))
    daemon = make_daemon(url, slots)
    daemon.start(env=bad((slots[0], f"bad@{BAD}+1"), (slots[1], f"bad@{BAD}+1")))
    status = daemon.wait(installed("2", "b"), "installed over bad sectors")
    assert slots[1].read_bytes() == second
    assert status["last_update"]["bytes_downloaded"] < 100_000 + 8 * CHUNK_MAX
    assert f"{slots[0]} does not serve as a seed, or not all of it does" in daemon.log
    assert "read back through the page cache" not in daemon.log


def test_a_device_whose_slots_know_no_o_direct_says_so(nginx, small_release, file_slots, bad, make_daemon):
    image, content = small_release
    daemon = make_daemon(nginx.publish(image), file_slots)
    daemon.start(env=bad((file_slots[1], "refuse-direct")))
    daemon.wait(installed("1", "b"), "installed through the page cache")
    assert file_slots[1].read_bytes() == content
    assert "read back through the page cache" in daemon.log
