# SPDX-License-Identifier: MIT
"""moonsinter diff --report: the page for publishers."""
import gzip
import os
import re
import signal
import stat
import subprocess
import xml.etree.ElementTree

import pytest

import images
from programs import MOONSINTER, Result, assert_failed, moonsinter, start_moonsinter, wait_until
from releases import make_release


def write_pair(folder, new=None, old=None):
    old = images.noise(3_000_000, "old") if old is None else old
    new = images.changed(old, "new") if new is None else new
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    return folder / "new", folder / "old"


def make_report(folder, new, old, *options):
    """Runs it; the result, and the page as a tree."""
    path = folder / "report.html"
    result = moonsinter("diff", new, old, "--report", path, *options)
    assert result.status == 0, result
    return result, xml.etree.ElementTree.fromstring(path.read_text(encoding="utf-8"))


def codes(result):
    return [event["code"] for event in result.named("advice")]


def find(page, **attributes):
    return [element for element in page.iter()
            if all(element.get(name.replace("_", "-")) == value for name, value in attributes.items())]


@pytest.mark.sanitized
def test_the_page_says_what_the_events_say(folder):
    new, old = write_pair(folder)
    result, page = make_report(folder, new, old)
    fates = result.named("fates")[0]
    assert sum(fates[f"bytes_{fate}"] for fate in ("keep", "copy", "patch", "fetch")) == new.stat().st_size
    assert fates["bytes_patch"] > 0 and fates["bytes_keep"] > 0 and fates["bytes_copy"] > 0
    for fate in ("keep", "copy", "patch", "fetch"):
        key, = find(page, data_fate=fate)
        assert int(key.get("data-bytes")) == fates[f"bytes_{fate}"]
    ways = result.named("way")
    assert [way["name"] for way in ways] == ["whole", "whole-compressed", "fixed-chunks", "blocks-4k", "content-defined",
                                             "pack", "patches"]
    for way in ways:
        row, = find(page, data_way=way["name"])
        assert int(row.get("data-list")) == way["list_bytes"]
        assert int(row.get("data-data")) == way["data_bytes"]
        assert f"{way['total_bytes']} bytes" in [cell.get("title") for cell in row.iter()]
    texts = ["".join(item.itertext()) for item in page.iter("li") if item.get("data-advice")]
    assert texts == [event["text"] for event in result.named("advice")]
    done = result.events[-1]
    assert done["event"] == "done"
    assert done["content_defined_bytes_to_fetch"] == fates["bytes_patch"] + fates["bytes_fetch"]


def test_a_device_pays_what_the_report_says(folder, nginx):
    (folder / "new-folder").mkdir()
    new, old = write_pair(folder, images.noise(3_000_000, "old")[:1_000_000] + images.noise(3_500_000, "only in NEW") +
                          images.changed(images.noise(3_000_000, "old")[1_000_000:], "new", edits=20))
    new = new.rename(folder / "new-folder" / "image")
    result, _ = make_report(folder, new, old)
    fates = result.named("fates")[0]
    assert fates["bytes_fetch"] > 0 and fates["bytes_patch"] > 0
    url = nginx.publish(make_release(folder / "release", new, options=["--pack", "--base", old]))
    plan = moonsinter("plan", url, folder / "slot", old)
    assert plan.status == 0, plan
    paid, = [way["total_bytes"] for way in result.named("way") if way["name"] == "patches"]
    assert plan.events[-1]["download_bytes"] == paid
    # The slot that is written held OLD as well. A patch also makes what OLD has between two pieces that it lacks.
    (folder / "slot").write_bytes(old.read_bytes())
    plan = moonsinter("plan", url, folder / "slot", old).named("plan")[0]
    assert plan["bytes_kept"] == fates["bytes_keep"]
    assert plan["bytes_copied"] + plan["bytes_patched"] == fates["bytes_copy"] + fates["bytes_patch"]
    assert plan["bytes_copied"] <= fates["bytes_copy"]


def write_set(folder):
    """A set and the one before it: the arguments for diff, with the files of NEW in a folder of their own."""
    (folder / "2").mkdir()
    pairs = {"root": write_pair(folder)}
    for name, size in ("boot", 700_000), ("app", 90_000):
        old, new = folder / f"{name}-1", folder / f"{name}-2"
        old.write_bytes(images.noise(size, name))
        new.write_bytes(images.changed(old.read_bytes(), "new", edits=3) if name == "boot" else images.noise(size, "other"))
        pairs[name] = new, old
    pairs = {name: (new.rename(folder / "2" / new.name), old) for name, (new, old) in pairs.items()}
    parts = [word for name in ("boot", "app") for word in ("--part", "{}={},{}".format(name, *pairs[name]))]
    return pairs, [*pairs["root"], *parts]


def one_part(result, part):
    """The events of one image, without its name; of all together where `part` is None."""
    return [{name: value for name, value in event.items() if name != "part"} for event in result.events
            if event.get("part") == part and event["event"] not in ("chunk_size", "done", "image")]


@pytest.mark.sanitized
def test_a_report_on_a_set(folder):
    """Each image as it is reported on alone, but for its manifest, and their sum."""
    pairs, arguments = write_set(folder)
    result, page = make_report(folder, *arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "app-1", "boot-1", "old", "report.html"]
    for name, pair in pairs.items():
        alone, alone_page = make_report(folder, *pair)
        if name != "root":
            assert one_part(result, name) == one_part(alone, None)
            section, = find(page, data_part=name)
            assert [path.get("d") for path in section.iter("{http://www.w3.org/2000/svg}path")] == \
                [path.get("d") for path in alone_page.iter("{http://www.w3.org/2000/svg}path")]
            assert len(find(section, data_fate="keep")) == len(find(section, data_way="patches")) == 1
        image, = [event for event in result.named("image") if event["part"] == name]
        assert {**image, "event": "done", "part": None} == {**alone.events[-1], "part": None}
    identities = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(identities) == len(set(identities)) == 6
    for picture in find(page, role="img"):
        assert all(name in identities for name in picture.get("aria-labelledby").split())
    # The sum is what comes first, and what is told without a name.
    for kind, key in ("fates", None), ("way", "name"):
        for total in (event for event in result.named(kind) if "part" not in event):
            images_of = [event for event in result.named(kind) if "part" in event and event.get(key) == total.get(key)]
            assert len(images_of) == 3
            for member, value in total.items():
                assert type(value) is not int or value == sum(event[member] for event in images_of)
    assert result.events[-1]["new_size"] == sum(new.stat().st_size for new, _ in pairs.values())
    paid = {event.get("part"): event["total_bytes"] for event in result.named("way") if event["name"] == "patches"}
    row = find(page, data_way="patches")[0]
    assert f"{paid[None]} bytes" in [cell.get("title") for cell in row.iter()]
    for name in pairs:
        row, = find(page, data_cost=name)
        assert f"{paid[name]} bytes" in [cell.get("title") for cell in row.iter()]


def test_the_numbers_of_a_set_without_a_report(folder):
    _, arguments = write_set(folder)
    with_report, _ = make_report(folder, *arguments)
    result = moonsinter("diff", *arguments)
    assert result.status == 0, result
    assert result.names == ["chunk_size", "image", "image", "image", "done"]
    assert [event["part"] for event in result.named("image")] == ["root", "boot", "app"]
    assert result.events[1:] == [event for event in with_report.events if event["event"] in ("image", "done")]


def test_a_page_on_one_image_has_no_sections(folder):
    _, page = make_report(folder, *write_pair(folder))
    assert not list(page.iter("section")) and not list(page.iter("h3"))
    assert find(page, id="map-title") and find(page, id="map-text")


def test_a_device_pays_for_a_set_what_the_report_says(folder, nginx):
    """To the byte, with all manifests."""
    pairs, arguments = write_set(folder)
    result, _ = make_report(folder, *arguments)
    parts = []
    for name in "boot", "app", "root":
        new, old = pairs[name]
        release = make_release(nginx.www, new.read_bytes(), name=new.name,
                               options=["--pack", "--base", old, *(parts if name == "root" else [])])
        parts += ["--part", f"{name}={release}"]
    plan = moonsinter("plan", nginx.url("new"), folder / "slot", pairs["root"][1],
                      *[word for name in ("boot", "app") for word in ("--part", f"{name}={folder / name},{pairs[name][1]}")])
    assert plan.status == 0, plan
    paid = {event.get("part"): event["total_bytes"] for event in result.named("way") if event["name"] == "patches"}
    assert [event["download_bytes"] for event in plan.named("plan")] == [paid["boot"], paid["app"], paid["root"]]
    assert plan.events[-1]["download_bytes"] == paid[None]


@pytest.mark.parametrize("parts", [
    ("boot={boot}", ), ("boot={boot},", ), ("boot=,{boot}", ), ("boot={boot},{boot},{boot}", ), ("boot", ), ("root={boot},{boot}", ),
    ("Boot={boot},{boot}", ), ("boot@a={boot},{boot}", ), ("boot={boot},{boot}", "boot={app},{app}"),
    tuple(f"p{number}={{boot}},{{boot}}" for number in range(17))], ids=str)
@pytest.mark.parametrize("report", [True, False])
def test_parts_that_cannot_be_understood(folder, parts, report):
    pairs, _ = write_set(folder)
    words = [word for part in parts for word in ("--part", part.format(boot=pairs["boot"][1], app=pairs["app"][1]))]
    result = moonsinter("diff", *pairs["root"], *words, *(["--report", folder / "page"] if report else []))
    assert_failed(result, "--part", status=2)
    assert not (folder / "page").exists()


@pytest.mark.parametrize("way", ["missing NEW", "missing OLD", "NEW of the main image", "NEW of another part", "a link to it"])
@pytest.mark.parametrize("report", [True, False])
def test_parts_that_are_not_there_or_there_twice(folder, way, report):
    pairs, arguments = write_set(folder)
    new, old = {"missing NEW": ("none", "old"), "missing OLD": ("2/new", "none"), "NEW of the main image": ("2/new", "old"),
                "NEW of another part": ("2/boot-2", "old"), "a link to it": ("link", "old")}[way]
    (folder / "link").symlink_to(pairs["app"][0])
    result = moonsinter("diff", *arguments, "--part", f"more={folder / new},{folder / old}",
                        *(["--report", folder / "page"] if report else []))
    assert_failed(result, *(["none"] if "missing" in way else []), kind=None if "missing" in way else "refused")
    assert "image" not in result.names and "fates" not in result.names and not (folder / "page").exists()


def test_the_map_in_numbers_adds_up(folder):
    new, old = write_pair(folder)
    result, page = make_report(folder, new, old)
    details, = page.iter("details")
    rows = [[int(cell.text) for cell in row] for row in list(details.iter("tr"))[1:]]
    fates = result.named("fates")[0]
    for column, fate in enumerate(("keep", "copy", "patch", "fetch"), start=1):
        assert sum(row[column] for row in rows) == fates[f"bytes_{fate}"]
    # And it is what is drawn: the lengths of each colour's lines, in thousandths of a row.
    row_bytes = rows[1][0]
    for path in page.iter("{http://www.w3.org/2000/svg}path"):
        drawn = sum(float(width) for width in re.findall(r"h([\d.e+]+)", path.get("d"))) * row_bytes / 1000
        # Four digits of each number, and lines of at least one thousandth.
        assert drawn == pytest.approx(fates[f"bytes_{path.get('class')}"], rel=0.02, abs=20 * row_bytes / 1000)


def test_the_page_needs_nothing_but_itself(folder):
    make_report(folder, *write_pair(folder))
    text = (folder / "report.html").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    for word in ("http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<img", "<iframe"):
        assert word not in text.lower(), word
    page = xml.etree.ElementTree.fromstring((folder / "report.html").read_text(encoding="utf-8"))
    policy, = find(page, http_equiv="Content-Security-Policy")
    assert policy.get("content").startswith("default-src 'none'")
    assert page.get("lang") == "en"
    picture, = find(page, role="img")
    names = {element.get("id"): element.text for element in picture}
    assert all(names[name] for name in picture.get("aria-labelledby").split())


@pytest.mark.sanitized
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a&b\"c'd<b>", "line\nbreak\x1b[31m", b"\xff\xfe<i>"])
def test_names_are_text(folder, name):
    new, old = write_pair(folder)
    name = os.fsencode(name).replace(b"/", b"")
    odd = os.path.join(os.fsencode(folder), name)
    os.rename(old, odd)
    path = folder / "report.html"
    done = subprocess.run([moonsinter("--version").arguments[0], b"diff", os.fsencode(new), odd, b"--report", os.fsencode(path)],
                          capture_output=True, check=False)
    assert done.returncode == 0, done
    page = xml.etree.ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert not list(page.iter("script")) + list(page.iter("i"))
    shown = "".join(page.itertext())
    assert "\x1b" not in shown and ("<" in shown) == (b"<" in name)
    if name.startswith(b"<script>"):
        assert "<script>alert(1)<script>" in shown


@pytest.mark.sanitized
def test_a_report_leaves_nothing_but_itself(folder):
    new, old = write_pair(folder)
    make_report(folder, new, old)
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old", "report.html"]
    assert_failed(moonsinter("diff", new, folder / "missing", "--report", folder / "other.html"), "missing")
    assert_failed(moonsinter("diff", new, old, "--report", folder / "no-folder" / "report.html"), "no-folder")
    (folder / "taken").mkdir()
    assert_failed(moonsinter("diff", new, old, "--report", folder / "taken"), "taken")
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old", "report.html", "taken"]


@pytest.mark.sanitized
@pytest.mark.parametrize("sizes", [(100_000, 0), (1, 1), (5000, 4096)])
def test_small_and_empty_images(folder, sizes):
    data = images.noise(200_000, "data")
    new, old = write_pair(folder, data[:sizes[0]], data[:sizes[1]])
    result, _ = make_report(folder, new, old)
    assert sum(value for key, value in result.named("fates")[0].items() if key.startswith("bytes_")) == sizes[0]


def test_equal_images_and_unrelated_ones(folder):
    data = images.noise(2_000_000, "data")
    result, _ = make_report(folder, *write_pair(folder, data, data))
    assert result.named("fates")[0]["bytes_keep"] == len(data) and codes(result) == []
    result, _ = make_report(folder, *write_pair(folder, data, images.noise(2_000_000, "others")))
    assert result.named("fates")[0]["bytes_fetch"] == len(data) and codes(result) == ["nothing-in-common"]


def test_an_image_that_is_compressed_as_a_whole(folder):
    data = images.noise(1_000_000, "data")
    result, _ = make_report(folder, *write_pair(folder, gzip.compress(data, mtime=0), data))
    assert codes(result)[0] == "compressed-as-a-whole"


def make_tree(folder, seconds, middle):
    """Files that hardly compress. `middle` is the size of one in the middle, by name and thus by place."""
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    for number in range(20):
        path = tree / f"file-{number:02}"
        path.write_bytes(images.noise(middle if number == 3 else 150_000, number))
        os.utime(path, (seconds, seconds))
    os.utime(tree, (seconds, seconds))
    return tree


def make_squashfs(folder, name, middle, *options):
    images.run("mksquashfs", make_tree(folder, 1_700_000_000, middle), folder / name, "-noappend", "-all-root", "-no-progress",
               "-no-xattrs", *(options or ["-mkfs-time", "1700000000"]))
    return folder / name


def test_advice_on_squashfs(folder):
    old = make_squashfs(folder, "old", 300_000)
    new = make_squashfs(folder, "new", 430_000)
    result, page = make_report(folder, new, old)
    assert codes(result) == ["compressed-inside", "unsorted"]
    assert "squashfs, gzip, blocks of 128 KiB" in "".join(page.itertext())
    new = make_squashfs(folder, "new-2", 430_000, "-mkfs-time", "1700000000", "-b", "1M")
    assert {"other-compression", "large-blocks"} <= set(codes(make_report(folder, new, old)[0]))
    new = make_squashfs(folder, "new-3", 300_000, "-mkfs-time", "1000000000")
    result, _ = make_report(folder, new, old)
    assert codes(result) == ["made-at-other-times"]
    assert "2001-09-09T01:46:40Z" in result.named("advice")[0]["text"]


def make_ext4(folder, name, seconds, *options):
    uuid = "11111111-2222-3333-4444-555555555555"
    environment = dict(os.environ, E2FSPROGS_FAKE_TIME="1700000000", SOURCE_DATE_EPOCH="1700000000",
                       PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-U", uuid, "-E", f"hash_seed={uuid}", *options,
                    "-d", make_tree(folder, seconds, 100_000), folder / name, "16M"], check=True, env=environment)
    # What -d took from the tree and nobody can set there.
    sets = "".join(f"sif {path} {field} @{seconds}\nsif {path} {field}_extra 0\n" for field in ("atime", "ctime")
                   for path in ["/", *(f"/file-{number:02}" for number in range(20))])
    subprocess.run(["debugfs", "-w", "-f", "-", folder / name], input=sets.encode(), capture_output=True, check=True,
                   env=environment)
    return folder / name


@pytest.mark.sanitized
def test_advice_on_ext4(folder):
    old = make_ext4(folder, "old", 1_700_000_000)
    same = make_ext4(folder, "same", 1_700_000_000)
    result, _ = make_report(folder, same, old)
    assert codes(result) == [] and result.named("fates")[0]["bytes_keep"] == old.stat().st_size
    result, _ = make_report(folder, make_ext4(folder, "later", 1_700_000_001), old)
    assert codes(result) == ["inode-times"]
    assert re.match(r"2[01] of \d+ inodes", result.named("advice")[0]["text"])
    others = ["-U", "99999999-2222-3333-4444-555555555555", "-O", "metadata_csum"]
    result, _ = make_report(folder, make_ext4(folder, "other", 1_700_000_000, *others), old)
    assert "other-uuid" in codes(result)
    result, _ = make_report(folder, make_ext4(folder, "seed", 1_700_000_000, "-E", f"hash_seed={others[1]}"), old)
    assert codes(result) == ["other-hash-seed"]
    result, _ = make_report(folder, make_ext4(folder, "journal", 1_700_000_000, "-O", "has_journal"), old)
    assert "journal" in codes(result)


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("begun", ["", ".pack.new"])
def test_a_report_that_is_cancelled_leaves_nothing(folder, ending, begun):
    new, old = write_pair(folder, images.noise(30_000_000, "new"), images.noise(3_000_000, "old"))
    process = start_moonsinter("diff", new, old, "--report", folder / "report.html")
    wait_until(lambda: any(folder.glob(f"report.html.*/new{begun}")), "the report is not being made")
    process.send_signal(ending)
    stdout, stderr = process.communicate(timeout=60)
    assert_failed(Result(["diff"], process.returncode, stdout, stderr, 0), "cancelled", status=128 + ending)
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old"]


# --- where it goes --------------------------------------------------------------------------------------------------

def is_page(data):
    return data.startswith(b"<!DOCTYPE html>") and data.endswith(b"</html>\n")


@pytest.mark.parametrize("name", ["null", "fifo", "link to null"])
def test_a_report_is_written_into_what_is_no_file(folder, name):
    """In a CI that runs as root, a rename would take /dev/null from the whole machine. These nodes are the test's own."""
    new, old = write_pair(folder)
    place = folder / "nodes"
    place.mkdir()
    path = node = place / "node"
    if name == "fifo":
        os.mkfifo(node)
    else:
        if os.getuid() != 0:
            pytest.skip("device nodes need root")
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    if name == "link to null":
        path = place / "link"
        path.symlink_to("node")
    before = os.lstat(node), os.lstat(path)
    reader = subprocess.Popen(["cat", node], stdout=subprocess.PIPE) if name == "fifo" else None
    result = moonsinter("diff", new, old, "--report", path)
    assert result.status == 0 and result.events[-1]["event"] == "done", result
    if reader:
        assert is_page(reader.communicate()[0])
    after = os.lstat(node), os.lstat(path)
    assert [(was.st_ino, was.st_mode) for was in before] == [(now.st_ino, now.st_mode) for now in after]
    assert {entry.name for entry in place.iterdir()} == {node.name, path.name}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(folder, there):
    new, old = write_pair(folder)
    (folder / "reports").mkdir()
    target = folder / "reports" / "today.html"
    if there:
        target.write_bytes(b"yesterday's")
    (folder / "again").symlink_to("reports/today.html")
    (folder / "latest.html").symlink_to("again")
    result = moonsinter("diff", new, old, "--report", folder / "latest.html")
    assert result.status == 0, result
    assert is_page(target.read_bytes()) and (folder / "latest.html").is_symlink() and (folder / "again").is_symlink()
    assert [entry.name for entry in target.parent.iterdir()] == ["today.html"]


@pytest.mark.sanitized
@pytest.mark.parametrize("way", ["new", "old", "hard link", "link", "temporary", "empty name", "folder", "empty NEW",
                                 "part's NEW", "part's OLD", "empty part", "one name"])
def test_where_a_report_may_not_go(folder, way):
    """Nor is anything compared first: that would take minutes."""
    new, old = write_pair(folder)
    (folder / "other").mkdir()
    part = folder / "part-2", folder / "part-1"
    if way == "one name":
        part = folder / "other" / "new", part[1]
    for path in part:
        path.write_bytes(b"" if way == "empty part" else b"part")
    path = {"new": new, "old": old, "hard link": folder / "hard", "link": folder / "link", "temporary": folder / "page",
            "empty name": "", "folder": folder / "taken", "empty NEW": folder / "page", "part's NEW": part[0], "part's OLD": part[1],
            "empty part": folder / "page", "one name": folder / "page"}[way]
    if way == "hard link":
        os.link(old, path)
    if way == "link":
        path.symlink_to(new)
    if way == "temporary":
        new = new.rename(folder / "page.new")
    if way == "folder":
        path.mkdir()
    if way == "empty NEW":
        new.write_bytes(b"")
    before = {entry.name: entry.is_file() and entry.read_bytes() for entry in folder.iterdir()}
    result = moonsinter("diff", new, old, "--report", path, "--part", f"part={part[0]},{part[1]}")
    assert_failed(result)
    assert result.events[-1]["kind"] == "refused" and result.names == ["failed"]
    assert {entry.name: entry.is_file() and entry.read_bytes() for entry in folder.iterdir()} == before


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_a_report_on_standard_output_is_alone_there(folder, path, into):
    new, old = write_pair(folder)
    with open(folder / "page", "wb") as page:
        done = subprocess.run([str(MOONSINTER), "diff", new, old, "--report", path], cwd=folder, check=False,
                              stdout=subprocess.PIPE if into == "pipe" else page, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b"", done
    assert is_page(done.stdout if into == "pipe" else (folder / "page").read_bytes())
    assert sorted(entry.name for entry in folder.iterdir()) == ["new", "old", "page"]
