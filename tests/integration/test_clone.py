# SPDX-License-Identifier: MIT
"""`moonsinter clone`: what it makes, says, fetches and spares."""
import os
import pathlib
import signal
import threading

import pytest

import ancestor
import images
import programs
from programs import assert_failed, moonsinter
from releases import disguise, make_empty_release, make_release, read_manifest, write_manifest

pytestmark = pytest.mark.sanitized

CHUNK_EVENTS = {"skip_chunk", "cp_chunk", "dl_chunk"}


def image_bytes(nginx, path="/image"):
    """What the server sent of the image itself."""
    return sum(request.body_bytes for request in nginx.requests(path))


def done(result):
    """The last event of a clone that succeeded."""
    assert result.status == 0, result
    assert result.names[-1] == "done", result
    return result.events[-1]


def assert_each_chunk_once(result):
    numbers = [event["value"] for event in result.events if programs.event_name(event) in CHUNK_EVENTS]
    total = result.named("total_chunks")[0]["value"]
    assert sorted(numbers) == list(range(1, total + 1)), "each chunk once, counted from 1"


@pytest.mark.fast
def test_a_cold_clone_equals_the_image_and_says_so_in_the_ancestors_words(nginx, small_release, folder):
    image, content = small_release
    result = moonsinter("clone", nginx.publish(image), folder / "out")
    last = done(result)
    assert (folder / "out").read_bytes() == content
    names = result.names
    assert names.index("dl_manifest_start") < names.index("dl_manifest_end") < names.index("total_chunks")
    assert names.index("total_chunks") < names.index("dl_chunk")
    assert_each_chunk_once(result)
    chunks = result.named("dl_chunk")
    assert sum(event["size"] for event in chunks) == len(content)
    assert last["total_chunks_downloaded"] == len(chunks)
    assert len(content) <= last["total_bytes_downloaded"] <= len(content) * 1.02 + 8192
    assert image_bytes(nginx) == len(content), "nothing was fetched twice"
    assert result.stderr == "", "no progress bar and no words for people where stderr is no terminal"


@pytest.mark.fast
def test_a_second_clone_downloads_and_writes_nothing(nginx, small_release, folder):
    image, content = small_release
    url, out = nginx.publish(image), folder / "out"
    done(moonsinter("clone", url, out))
    nginx.forget()
    before = out.stat()
    result = moonsinter("clone", url, out)
    assert done(result)["total_chunks_downloaded"] == 0
    assert set(result.names) & CHUNK_EVENTS == {"skip_chunk"}
    assert_each_chunk_once(result)
    assert image_bytes(nginx) == 0
    assert out.stat().st_mtime_ns == before.st_mtime_ns, "the output was written to"
    assert out.read_bytes() == content


def test_only_what_differs_is_written(nginx, small_release, folder, loops):
    image, content = small_release
    device = loops.attach(4 << 20)
    backing = loops.backing(device)
    damaged = bytearray(content)
    damaged[1_000_000:1_000_100] = bytes(100)
    backing.write_bytes(damaged + bytes((4 << 20) - len(damaged)))
    sectors = written_sectors(device)
    result = moonsinter("clone", nginx.publish(image), device)
    last = done(result)
    assert backing.read_bytes()[:len(content)] == content
    assert 1 <= last["total_chunks_downloaded"] <= 2
    assert (written_sectors(device) - sectors) * 512 <= 1 << 20


def written_sectors(device):
    return int(pathlib.Path(f"/sys/block/{os.path.basename(device)}/stat").read_text().split()[6])


@pytest.mark.fast
def test_a_seed_spares_the_download(nginx, folder):
    old = images.noise(6_000_000, "old")
    new = images.changed(old, "new", edits=3)
    seed = folder / "seed"
    seed.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    result = moonsinter("clone", url, folder / "out", seed)
    last = done(result)
    assert (folder / "out").read_bytes() == new
    assert seed.read_bytes() == old
    assert_each_chunk_once(result)
    assert {"cp_chunk", "dl_chunk"} <= set(result.names)
    assert last["total_bytes_downloaded"] < len(new) // 5
    assert image_bytes(nginx) < len(new) // 5


def test_several_seeds_are_all_used(nginx, folder):
    parts = [images.noise(2_000_000, name) for name in "abc"]
    seeds = []
    for number, part in enumerate(parts[:2]):
        seeds.append(folder / f"seed-{number}")
        seeds[-1].write_bytes(images.noise(1000 + number, f"shift {number}") + part)
    url = nginx.publish(make_release(folder / "release", b"".join(parts)))
    last = done(moonsinter("clone", url, folder / "out", *seeds))
    assert (folder / "out").read_bytes() == b"".join(parts)
    assert last["total_bytes_downloaded"] < 2_600_000


def test_the_outputs_own_old_content_is_a_seed_too(nginx, folder):
    old = images.noise(6_000_000, "old")
    new = images.noise(777, "in front") + old[:3_000_000] + images.noise(5_000, "between") + old[3_000_000:]
    out = folder / "out"
    out.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    last = done(moonsinter("clone", url, out))
    assert out.read_bytes() == new
    assert last["total_bytes_downloaded"] < len(new) // 2


def test_swapped_halves_within_the_output_end_well(nginx, folder):
    old = images.noise(4_000_000, "old")
    new = old[2_000_000:] + old[:2_000_000]
    out = folder / "out"
    out.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    done(moonsinter("clone", url, out))
    assert out.read_bytes() == new


def test_the_output_named_as_a_seed_as_well_is_fine(nginx, small_release, folder):
    image, content = small_release
    out = folder / "out"
    out.write_bytes(content[:1_500_000] + bytes(1000) + content[1_500_000:])
    done(moonsinter("clone", nginx.publish(image), out, out))
    assert out.read_bytes() == content


def test_a_longer_output_is_cut(nginx, small_release, folder):
    image, content = small_release
    out = folder / "out"
    out.write_bytes(content + bytes(12345))
    done(moonsinter("clone", nginx.publish(image), out))
    assert out.read_bytes() == content


@pytest.mark.parametrize("size", [0, 1, 4096, 131071, 131072, 131073, 262144, 1_000_003])
@pytest.mark.parametrize("fill", ["noise", "zeros"])
def test_odd_sizes(nginx, folder, size, fill):
    content = images.noise(size, size) if fill == "noise" else bytes(size)
    make = make_release if size else lambda path, _: make_empty_release(path)
    url = nginx.publish(make(folder / "release", content))
    result = moonsinter("clone", url, folder / "out")
    done(result)
    assert_each_chunk_once(result)
    assert (folder / "out").read_bytes() == content


@pytest.mark.fast
def test_plan_tells_the_bytes_before_and_writes_nothing(nginx, folder):
    old = images.noise(6_000_000, "old")
    new = images.changed(old, "new", edits=5)
    seed = folder / "seed"
    seed.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    planned = moonsinter("plan", url, folder / "out", seed)
    assert planned.status == 0, planned
    assert not (folder / "out").exists()
    assert image_bytes(nginx) == 0
    told = planned.named("plan")[0]
    assert told["bytes_kept"] == 0 and told["bytes_copied"] + told["bytes_fetched"] >= len(new)
    nginx.forget()
    last = done(moonsinter("clone", url, folder / "out", seed))
    assert image_bytes(nginx) == told["bytes_fetched"], told
    sent = sum(request.body_bytes for request in nginx.requests())
    assert sent == told["download_bytes"] == last["total_bytes_downloaded"]


# --- the ancestor's files ----------------------------------------------------------------------------------------

def test_ours_clones_from_the_ancestors_manifest(nginx, folder):
    old = images.noise(700_000, "old")
    new = old[:300_000] + images.noise(50_000, "new") + old[350_000:]
    image = folder / "image"
    image.write_bytes(new)
    write_manifest(image, ancestor.manifest(new))
    seed = folder / "seed"
    seed.write_bytes(old)
    result = moonsinter("clone", nginx.publish(image), folder / "out", seed)
    last = done(result)
    assert (folder / "out").read_bytes() == new
    assert result.named("total_chunks")[0]["value"] == 6
    assert_each_chunk_once(result)
    assert last["total_bytes_downloaded"] <= 2 * 131072


def test_the_ancestors_program_clones_from_ours(nginx, folder):
    old = images.noise(700_000, "old")
    new = old[:300_000] + images.noise(50_000, "new") + old[350_000:]
    url = nginx.publish(make_release(folder / "release", new, version="7", serial=7))
    output, downloaded = ancestor.clone(url, old)
    assert output == new
    assert downloaded <= 2 * 131072


@pytest.mark.parametrize("chunk_size, spelled", [(4096, "4K"), (65536, "65536"), (1 << 20, "1M")])
def test_the_five_members_are_the_ancestors(folder, chunk_size, spelled):
    content = images.noise(700_001, "members")
    image = folder / "image"
    image.write_bytes(content)
    result = moonsinter("generate", image, spelled)
    assert result.status == 0, result
    expected = ancestor.manifest(content, chunk_size)
    offered = read_manifest(image)
    assert {name: offered[name] for name in expected} == expected
    assert result.named("chunk_size")[0]["value"] == chunk_size
    assert result.events[-1]["file_size"] == len(content)
    assert result.events[-1]["chunk_count"] == -(-len(content) // chunk_size)


# --- the table of chunks ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped", "longer", "empty"])
def test_without_a_good_table_the_fixed_chunks_serve(nginx, small_release, folder, harm):
    image, content = small_release
    url = nginx.publish(image, link=False)
    table = nginx.www / "image.chunks"
    data = table.read_bytes()
    if harm == "missing":
        table.unlink()
    elif harm == "truncated":
        table.write_bytes(data[:len(data) // 2])
    elif harm == "flipped":
        table.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif harm == "longer":
        table.write_bytes(data + b"x")
    else:
        table.write_bytes(b"")
    done(moonsinter("clone", url, folder / "out"))
    assert (folder / "out").read_bytes() == content


# --- killed and resumed -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kill_signal", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_clone_resumes_and_fetches_nothing_twice(make_nginx, folder, kill_signal):
    nginx = make_nginx("limit_rate 4m;")
    content = images.noise(48_000_000, "resume")
    url = nginx.publish(make_release(folder / "release", content))
    kills = 0
    for megabytes in (5, 7, 2):
        before = programs.written_bytes(folder / "out")
        process = programs.start_moonsinter("clone", url, folder / "out")
        programs.wait_until(lambda: programs.written_bytes(folder / "out") > before + megabytes * 1_000_000 or
                            process.poll() is not None, "the clone gets on")
        process.send_signal(kill_signal)
        _, stderr = process.communicate(timeout=20 * programs.PATIENCE)
        assert process.returncode != 0, "the clone was over before the kill"
        if kill_signal != signal.SIGKILL:
            assert process.returncode in (128 + kill_signal, -kill_signal), stderr
        kills += 1
    done(moonsinter("clone", url, folder / "out"))
    assert (folder / "out").read_bytes() == content
    nginx.wait_for_silence()
    assert image_bytes(nginx) <= len(content) + kills * (8 << 20)


# --- seeds --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["missing", "shorter", "longer", "empty", "folder", "socket", "foreign"])
def test_a_bad_seed_is_no_failure(nginx, small_release, folder, kind):
    image, content = small_release
    seed = folder / "seed"
    if kind == "shorter":
        seed.write_bytes(content[:1_234_567])
    elif kind == "longer":
        seed.write_bytes(images.noise(99, "front") + content + images.noise(2_000_000, "back"))
    elif kind == "empty":
        seed.touch()
    elif kind == "folder":
        seed.mkdir()
    elif kind == "socket":
        os.mkfifo(seed)
    elif kind == "foreign":
        seed.write_bytes(images.noise(3_000_000, "foreign"))
    result = moonsinter("clone", nginx.publish(image), folder / "out", seed)
    last = done(result)
    assert (folder / "out").read_bytes() == content
    if kind == "longer":
        assert last["total_bytes_downloaded"] < 600_000
    if kind == "shorter":
        assert last["total_bytes_downloaded"] < len(content) - 1_000_000


def test_a_seed_that_changes_while_it_is_read_costs_bytes_and_nothing_else(make_nginx, folder):
    nginx = make_nginx("limit_rate 3m;")
    old = images.noise(24_000_000, "old")
    new = images.noise(12_000_000, "new") + old
    seed = folder / "seed"
    seed.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    stop = threading.Event()

    def disturb():
        descriptor = os.open(seed, os.O_WRONLY)
        block = 0
        while not stop.is_set():
            os.pwrite(descriptor, b"changed", (block * 997 * 4096) % (len(old) - 7))
            block += 1
            stop.wait(0.0005)
        os.close(descriptor)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        result = moonsinter("clone", url, folder / "out", seed)
    finally:
        stop.set()
        thread.join()
    done(result)
    assert (folder / "out").read_bytes() == new


def test_a_seed_cut_short_under_way_is_no_failure(make_nginx, folder):
    nginx = make_nginx("limit_rate 3m;")
    old = images.noise(24_000_000, "old")
    new = images.noise(6_000_000, "new") + old
    seed = folder / "seed"
    seed.write_bytes(old)
    url = nginx.publish(make_release(folder / "release", new))
    process = programs.start_moonsinter("clone", url, folder / "out", seed)
    for line in process.stdout:
        if '"total_chunks"' in line:
            break
    os.truncate(seed, 1_000_000)
    process.communicate(timeout=120 * programs.PATIENCE)
    assert process.returncode == 0
    assert (folder / "out").read_bytes() == new


# --- what the server may do under way -----------------------------------------------------------------------------

def test_an_image_replaced_under_way_never_ends_in_a_mixture(make_nginx, folder):
    nginx = make_nginx("limit_rate 3m;")
    old = images.noise(30_000_000, "first")
    new = images.changed(old, "second", edits=6)
    first = make_release(folder / "first", old, version="1", serial=1)
    second = make_release(folder / "second", new, version="2", serial=2)
    url = nginx.publish(first)
    process = programs.start_moonsinter("clone", url, folder / "out")
    programs.wait_until(lambda: programs.written_bytes(folder / "out") > 5_000_000, "the clone gets on")
    assert process.poll() is None
    nginx.publish(second)
    _, stderr = process.communicate(timeout=120 * programs.PATIENCE)
    if process.returncode == 0:
        assert (folder / "out").read_bytes() == new
    else:
        assert process.returncode == 1 and stderr.strip()
    nginx.wait_for_silence()
    nginx.forget()
    done(moonsinter("clone", url, folder / "out"))
    assert (folder / "out").read_bytes() == new
    assert image_bytes(nginx) < len(new), "what still fits was kept"


def test_what_only_looks_right_in_place_is_mended_in_one_more_round(nginx, small_release, folder):
    """What lies there has the XXH3 of a chunk and is another: only the verification notices, and not a second time."""
    image, content = small_release
    evil = bytearray(content)
    size = disguise(image, evil, 1_000_000)
    (folder / "out").write_bytes(evil)
    result = moonsinter("clone", nginx.publish(image), folder / "out")
    last = done(result)
    assert (folder / "out").read_bytes() == content
    assert len(result.named("clone_again")) == 1 and result.named("clone_again")[0]["value"], result
    assert len(result.named("dl_manifest_start")) == 1
    assert last["total_bytes_written"] == size


def test_an_image_that_is_not_the_manifests_is_a_failure(nginx, small_release, folder):
    image, content = small_release
    url = nginx.publish(image, link=False)
    (nginx.www / "image").write_bytes(content[:1_000_000] + b"other" + content[1_000_005:])
    assert_failed(moonsinter("clone", url, folder / "out", *programs.IMPATIENT))


def test_an_image_of_another_size_is_a_failure(nginx, small_release, folder):
    image, content = small_release
    url = nginx.publish(image, link=False)
    (nginx.www / "image").write_bytes(content[:-1])
    assert_failed(moonsinter("clone", url, folder / "out", *programs.IMPATIENT))
