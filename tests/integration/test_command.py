# SPDX-License-Identifier: MIT
"""The command's other verbs, its usage errors and exit statuses."""
import gzip
import json
import resource

import pytest

import images
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

BAD_CHUNK_SIZES = ["0", "-1", "-128K", "12Q", "K", "", " ", "12 K", "1.5M", "0x1000", "128KB", "1e6", "nan",
                   "2147483648", "4294967296", "9223372036854775808", "18446744073709551616", "2G", "9999999999G"]


@pytest.mark.parametrize("text", BAD_CHUNK_SIZES)
@pytest.mark.parametrize("verb", ["generate", "diff"])
def test_a_chunk_size_that_does_not_parse_is_an_error(folder, verb, text):
    files = [folder / "one", folder / "two"]
    for path in files:
        path.write_bytes(b"content")
    arguments = [files[0]] if verb == "generate" else files
    result = moonsinter(verb, *arguments, text)
    assert_failed(result, ("chunk size", "CHUNK_SIZE", "option"), status=2)
    assert not (folder / "one.json").exists()


@pytest.mark.parametrize("arguments", [
    [], ["no-such-verb"], ["clone"], ["clone", "http://127.0.0.1/x"], ["generate"], ["diff", "one"], ["verify", "one"],
    ["plan", "http://127.0.0.1/x"], ["clone", "--no-such-option", "http://127.0.0.1/x", "out"],
    ["generate", "image", "--serial", "x"], ["generate", "image", "--serial", "-1"], ["generate", "image", "--serial"],
    ["clone", "http://127.0.0.1/x", "out", "--connections", "33"], ["plan", "http://127.0.0.1/x", "out", "--connections", "0"],
    ["status", "surplus"]])
def test_usage_errors_end_with_2(folder, arguments):
    result = moonsinter(*arguments, cwd=folder)
    assert result.status == 2, result
    assert result.stderr.strip()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", ["1", "16", "17", "32"])
@pytest.mark.parametrize("verb", ["clone", "plan"])
def test_as_many_connections_are_taken_as_the_daemon_takes(nginx, small_release, folder, verb, number):
    result = moonsinter(verb, nginx.publish(small_release[0]), folder / "out", "--connections", number)
    assert result.status == 0 and result.names[-1] == "done", result


def test_help_and_version(folder):
    for arguments in (["--help"], ["clone", "--help"], ["generate", "--help"]):
        result = moonsinter(*arguments)
        assert result.status == 0 and "moonsinter" in result.stdout, result
    result = moonsinter("--version")
    assert result.status == 0 and result.stdout.strip(), result


@pytest.mark.parametrize("verb", ["generate", "diff", "verify", "verify without manifest"])
def test_missing_files_are_named(folder, small_release, verb):
    image, _ = small_release
    missing = folder / "missing"
    arguments = {"generate": [missing], "diff": [missing, image], "verify": [missing, f"{image}.json"],
                 "verify without manifest": [image, missing]}[verb]
    assert_failed(moonsinter(verb.split()[0], *arguments), "missing")


def test_generate_of_a_folder_is_an_error(folder):
    assert_failed(moonsinter("generate", folder))


def test_diff_counts_as_the_ancestor_did(folder):
    old = images.noise(10 * 4096, "old")
    new = bytearray(old)
    new[5000] ^= 1
    new[9 * 4096] ^= 1
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    result = moonsinter("diff", folder / "new", folder / "old", "4K")
    assert result.status == 0, result
    assert result.named("chunk_size")[0]["value"] == 4096
    last = result.events[-1]
    assert (last["total"], last["diff"], last["same"]) == (10, 2, 8)
    assert float(last["percentage_different"]) == pytest.approx(20)


def test_diff_of_two_empty_files(folder):
    for name in ("old", "new"):
        (folder / name).touch()
    result = moonsinter("diff", folder / "new", folder / "old")
    assert result.status == 0 and result.events[-1]["total"] == 0, result
    assert "nan" not in result.stdout.lower()


def test_generate_is_reproducible_and_carries_the_release(folder):
    content = images.noise(500_000, "image")
    texts = []
    for name in ("one", "two"):
        image = make_release(folder / name, content, version="2026.11", serial=42)
        texts.append((image.with_name("image.json").read_bytes(), image.with_name("image.chunks").read_bytes()))
    first, second = (json.loads(text) for text, _ in texts)
    for manifest in (first, second):
        manifest["moonsinter"].get("release", manifest["moonsinter"]).pop("created", None)
    assert first == second
    assert texts[0][1] == texts[1][1]
    spelled = json.dumps(first["moonsinter"])
    assert '"2026.11"' in spelled and "42" in spelled


def test_verify_says_whether_a_file_holds_the_image(folder, small_release, loops):
    image, content = small_release
    manifest = f"{image}.json"
    assert moonsinter("verify", image, manifest).status == 0
    longer = folder / "longer"
    longer.write_bytes(content + bytes(4096))
    shorter = folder / "shorter"
    shorter.write_bytes(content[:-1])
    other = folder / "other"
    other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for wrong in (shorter, other):
        assert_failed(moonsinter("verify", wrong, manifest))
    # A partition is larger than the image it holds; what lies behind does not count.
    device = loops.attach(4 << 20)
    loops.backing(device).write_bytes(content + bytes((4 << 20) - len(content)))
    assert moonsinter("verify", device, manifest).status == 0


def test_nothing_is_left_half_written_by_generate(folder, mount):
    place = mount("tmpfs", "-t", "tmpfs", "-o", "size=1m")
    image = place / "image"
    image.write_bytes(images.noise(1 << 20, "fills it"))
    assert_failed(moonsinter("generate", image), ("space", "full"))
    assert [path.name for path in place.iterdir()] == ["image"]


def test_read_manifest_has_the_members(small_release):
    image, content = small_release
    manifest = read_manifest(image)
    assert manifest["file_size"] == len(content)
    assert set(manifest) == {"chunk_hashes", "chunk_size", "last_chunk_size", "file_hash", "file_size", "moonsinter"}


@pytest.mark.parametrize("verb", ("clone", "plan"))
def test_seeds_beyond_what_can_be_told_apart_are_refused(folder, verb):
    """250 of them; nothing is dropped in silence."""
    seeds = [folder / f"seed-{number}" for number in range(251)]
    assert_failed(moonsinter(verb, "http://127.0.0.1:1/image", folder / "output", *seeds), "250", "251", status=2)


def test_the_250th_seed_serves(nginx, small_release, folder):
    image, content = small_release
    useless, useful = folder / "useless", folder / "useful"
    useless.write_bytes(b"nothing")
    useful.write_bytes(content)
    result = moonsinter("plan", nginx.publish(image), folder / "output", *[useless] * 249, useful)
    assert result.status == 0 and result.named("plan")[0]["bytes_copied"] == len(content), result


def clone_within(open_files, *arguments):
    return moonsinter("clone", *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, open_files))


def test_too_few_open_files_are_told_of_before_the_transfer(nginx, small_release, folder):
    """Seeds took them all, and then the network was blamed, or the end of a clone that had fetched everything."""
    image, content = small_release
    seeds = [folder / f"seed-{number}" for number in range(30)]
    for seed in seeds:
        seed.write_bytes(b"of no use")
    url = nginx.publish(image)
    result = clone_within((24, 24), url, folder / "out", *seeds)
    assert_failed(result, "ulimit -n")
    assert result.events[-1]["kind"] == "refused" and nginx.requests() == []
    # A lower bound that may be raised is raised, and few seeds do with few.
    assert clone_within((24, 256), url, folder / "out", *seeds).status == 0
    (folder / "out").unlink()
    assert clone_within((24, 24), url, folder / "out", *seeds[:4]).status == 0
    assert (folder / "out").read_bytes() == content


@pytest.mark.parametrize("write, words", [
    (lambda data: b"\xef\xbb\xbf" + data, "byte order mark"), (lambda data: gzip.compress(data), "gzip"),
    (lambda data: data.decode().encode("utf-16"), "UTF-16")])
def test_a_manifest_that_is_something_else_is_called_that(nginx, small_release, folder, write, words):
    image, _ = small_release
    url = nginx.publish(image)
    path = nginx.www / "image.json"
    data = write(path.read_bytes())
    path.unlink()
    path.write_bytes(data)
    assert_failed(moonsinter("clone", url, folder / "out"), words)
    assert_failed(moonsinter("verify", image, path), words)
