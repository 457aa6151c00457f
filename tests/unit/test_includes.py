# SPDX-License-Identifier: MIT
"""Who may include whom: base < image < io < sinter < publish < publish/report < {daemon, cli}, and each foreign library
in few files."""
import pathlib
import re

import pytest

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)

LAYERS = ["common/base", "common/image", "common/io", "common/sinter", "common/publish", "common/publish/report"]
# What a build may be without, and who else may include it: each part has a few lines in what is above it.
LEFT_OUT = {
    "common/publish/report/": ("cli/publish/report/",),
    "common/publish/": ("cli/publish/",),
    "cli/publish/report/": ("cli/publish/diff.c",),
    "cli/publish/": (),
}
PROGRAMS = ["daemon", "cli"]
# What the build makes, and the folder it belongs to.
GENERATED = {"common/version_generated.h": "common/base/"}

# Which files may meet which foreign header (a pattern over the header's name).
FOREIGN = {
    r"curl/.*": {"common/io/http", "cli/daemon_client"},
    r"(pthread|threads)\.h": {"common/io/pool"},
    r"openssl/.*": {"common/base/digest", "common/image/minisign"},
    r"xxhash\.h|xxh3\.h": {"common/base/digest"},
    r"json.*/.*|json\.h": {"common/base/json"},
    # sd-daemon there, sd-bus here.
    r"systemd/.*": {"daemon/face/notify", "daemon/host/logind"},
    r"zstd.*\.h": {"common/image/zstd_frame"},
    r"ini\.h": {"daemon/config/config"},
    r"libuboot\.h": {"daemon/boot/uboot_env"},
    r"event2/.*": {"common/io/http", "common/io/later", "common/io/loop", "common/io/timer", "common/io/watch",
                   "daemon/face/api_server_client"},
}


def sources():
    found = [path for folder in ["common", *PROGRAMS] for path in sorted((ROOT / folder).rglob("*.[ch]"))]
    assert found
    return found


def includes(path):
    return [(quote == '"', name) for quote, name in INCLUDE.findall(path.read_text())]


def layer_of(name):
    """The rank of a project file, and its program; a file outside the known folders has no place in the tree."""
    name = GENERATED.get(name, name)
    for rank, folder in reversed(list(enumerate(LAYERS))):
        if name.startswith(folder + "/"):
            return rank, None
    for program in PROGRAMS:
        if name.startswith(program + "/"):
            return len(LAYERS), program
    raise AssertionError(f"{name} is in none of the known folders")


def test_includes_go_downwards_only():
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        rank, program = layer_of(name)
        for own, header in includes(path):
            if not own:
                continue
            other_rank, other_program = layer_of(header)
            if other_rank > rank or (other_program and other_program != program):
                wrong.append(f"{name} includes {header}")
    assert not wrong


def test_what_can_be_left_out_is_needed_by_nobody_else():
    """moonsinterd has none of it, and the command's other files build without."""
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for _, header in includes(path):
            part = next((part for part in LEFT_OUT if header.startswith(part)), None)
            if part and not name.startswith((part, *LEFT_OUT[part])):
                wrong.append(f"{name} includes {header}")
    assert not wrong


def test_own_headers_are_included_with_their_folder_and_exist():
    wrong = []
    for path in sources():
        for own, header in includes(path):
            generated = header.endswith("_generated.h")
            if own and not generated and not (ROOT / header).is_file():
                wrong.append(f"{path.relative_to(ROOT)} includes \"{header}\", which is no file of the tree")
            if not own and (ROOT / header).is_file():
                wrong.append(f"{path.relative_to(ROOT)} includes <{header}>, which is ours")
    assert not wrong


def test_foreign_libraries_are_met_in_few_files():
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for own, header in includes(path):
            for pattern, allowed in FOREIGN.items():
                if not own and re.fullmatch(pattern, header):
                    if not any(name.startswith(prefix if prefix.endswith("/") else prefix + ".") or
                               name.startswith(prefix + "_") for prefix in allowed):
                        wrong.append(f"{name} includes <{header}>")
    assert not wrong


def test_manifests_are_parsed_in_one_place_only():
    """Where their signature is judged first. What is local to a publisher's own command is no exception."""
    callers = [path.relative_to(ROOT).as_posix() for path in sources()
               if path.suffix == ".c" and re.search(r"\bmanifest_parse\(", path.read_text())]
    assert callers == ["common/image/manifest.c", "common/sinter/trust.c"]


def test_slots_are_armed_in_one_place_only():
    """Behind the gate of daemon_trust_arm(); the backends are asked by the task that this orders."""
    own = {f"daemon/parts/boot_{name}" for name in ("selection.c", "selection.h", "task.c", "task.h")}
    orders = [path.relative_to(ROOT).as_posix() for path in sources()
              if re.search(r"\bboot_selection_arm\(|BOOT_TASK_ARM", path.read_text())]
    calls = [path.relative_to(ROOT).as_posix() for path in sources()
             if path.suffix == ".c" and re.search(r"\bboot_arm\(", path.read_text())]
    assert set(orders) == own | {"daemon/daemon_trust.c"}
    assert sorted(calls) == ["daemon/boot/boot.c", "daemon/parts/boot_task.c"]


def test_files_are_looked_at_by_one_helper():
    """stat() and its kin fail on files dated past 2038 where time_t has 32 bits; common/base/file_status.h does not."""
    wrong = []
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            call = re.search(r"\b(stat|lstat|fstat|fstatat|statx)\((?![2)])", line)
            if call and path.stem != "file_status":
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {call[1]}(): call file_status() or its kin instead")
    assert not wrong


def test_the_wall_clock_is_read_by_one_helper():
    """A 32-bit time_t ends in 2038; common/base/wall_clock.h does not."""
    wrong = []
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            call = re.search(r"\b(time\(NULL|CLOCK_REALTIME|(localtime|gmtime)(_r)?\(|(mktime|timegm|gettimeofday)\((?!\)))", line)
            # A timer that tells when the clock is set does not read it.
            if call and path.stem != "wall_clock" and "timerfd_create(" not in line:
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {call[1]}: call wall_clock_now_s() or its kin instead")
    assert not wrong


def test_the_steady_clock_is_read_by_one_helper():
    """Each file that reads it by hand has its own unit and its own rounding."""
    wrong = []
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "clock_gettime(" in line and path.stem != "wall_clock":
                wrong.append(f"{path.relative_to(ROOT)}:{number}: call wall_clock_steady_ms() or its kin instead")
    assert not wrong


# What people read is made by these.
MESSAGES = re.compile(r"\b(error_set|error_set_errno|error_prefix|fault|log_\w+|printf|fprintf|snprintf|fputs|puts|"
                      r"doctor_tell|config_problems_add|notify_\w+|report_\w+|event_line_\w+|json_add_string|"
                      r"add_text|print_text|record_copy_\w+)\(")
# The name of a variable or member that may be an address as it was given.
ADDRESS = re.compile(r"\b(?!shown_)(\w+_)?(url|urls|proxy|reference|location|effective|reached)\b(?!\()")
SHOWN = re.compile(r"\b(url_shown|url_for_display|url_for_message|config_secret_show\w*)\((?:[^()]|\([^()]*\))*\)")
SENDERS = {"cli/session_options.c": 1, "common/sinter/fetch.c": 2, "common/sinter/transfer_fetch.c": 1,
           "daemon/config/config.c": 1, "daemon/doctor/doctor_server.c": 1}


def code_of(path):
    """The file without comments and without what stands in quotes."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def calls(text, pattern):
    """Each call that `pattern` finds: the function's name and what stands between the parentheses."""
    for match in pattern.finditer(text):
        depth, at = 1, match.end()
        while depth and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        yield match.group(1), text[match.end():at - 1]


def test_an_address_with_its_secrets_is_for_requests_only():
    """A struct url gives its text with password and tokens away in one function, and that one's callers hand it to
    a request and do nothing else with it."""
    found = {}
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("common/image/url."):
            continue
        uses = re.findall(r"(.*)\burl_text_to_send\(", code_of(path))
        assert all(re.search(r"\.(url|headers_for) = $|->http\.headers_for = $", before) for before in uses), name
        if uses:
            found[name] = len(uses)
    assert found == SENDERS


def test_addresses_are_no_plain_text_above_the_requests():
    """What holds an address is a struct url, but where it has not been judged yet: on its way in, or in a manifest."""
    found = {path.relative_to(ROOT).as_posix() for path in sources() if path.parts[-2] != "io"
             and re.search(r"\bchar \*(?:const )?(?!shown_)(\w+_)?url\b[^(]", code_of(path))}
    assert found == {
        "common/image/manifest.h", "common/image/manifest_pack.h", "common/image/manifest_parts.h", "common/image/manifest_parts.c",
        "common/image/manifest_member.c",
        "common/image/url.c", "daemon/config/config.h", "daemon/moonsinterd.c",
    }


def test_addresses_reach_people_in_their_shown_form_only():
    """Neither a message, an output nor the record is given an address as it is."""
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for function, arguments in calls(code_of(path), MESSAGES):
            arguments = SHOWN.sub("", arguments)
            if path.suffix == ".c" and ADDRESS.search(arguments):
                wrong.append(f"{name}: {function}({' '.join(arguments.split())})")
    # The publisher's own references, in the manifest.
    assert sorted(line for line in wrong if "json_add_string(" not in line) == []
    assert {line.split(":")[0] for line in wrong} == {"common/image/manifest.c", "common/image/manifest_pack.c",
                                                    "common/image/manifest_parts.c"}


def test_nothing_unfinished_and_no_omnibus_files():
    wrong = []
    for path in sources():
        if path.stem in ("util", "utils", "helpers", "misc", "common"):
            wrong.append(f"{path.relative_to(ROOT)}: say what it is about")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b", line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong


# What decides: no clock, no I/O, no loop, and nothing of the daemon that does things. It reads what a release is, and
# fetches none.
def test_what_decides_does_nothing():
    allowed = re.compile(r"common/(base|image)/|common/io/(backoff|retry)\.h|common/sinter/(trust|release|release_parts)\.h|daemon/decide/|"
                         r"daemon/(host/slots|host/slot_print|boot/boot|config/config)\.h")
    found = sorted((ROOT / "daemon" / "decide").glob("*.[ch]"))
    assert found
    for path in found:
        assert not re.search(r"release_(fetch|parts)_|release_from_text|release_add_part", path.read_text(encoding="utf-8")), path.name
        for quote, included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            assert quote == "<" or allowed.match(included), f"{path.name} includes {included}"
            assert not included.startswith(("event2/", "sys/socket", "fcntl", "unistd")), f"{path.name} includes {included}"


# What is plainly a piece of another part.
PIECES = {"daemon/parts/boot_selection.h": "daemon/parts/boot_task.h", "daemon/parts/health.h": "daemon/parts/health_list.h",
          "daemon/parts/trial_runner.h": "daemon/parts/health.h",
          "daemon/parts/installer.h": "daemon/parts/installer_private.h",
          "daemon/parts/installer_private.h": "daemon/parts/installer.h",
          "daemon/parts/installer_progress.h": "daemon/parts/installer_private.h"}


# What works beside the loop: opaque parts that send events; only the daemon knows more than one of them.
def test_parts_know_neither_each_other_nor_the_daemon():
    wrong = []
    found = sorted((ROOT / "daemon" / "parts").glob("*.[ch]"))
    assert found
    for path in found:
        name = path.relative_to(ROOT).as_posix()
        header = name.removesuffix(path.suffix) + ".h"
        for _, included in includes(path):
            own = included == header or PIECES.get(header) == included
            if re.match(r"daemon/(daemon|face/|doctor/)", included) or (included.startswith("daemon/parts/") and not own):
                wrong.append(f"{name} includes {included}")
    assert not wrong


def test_every_source_names_its_licence():
    wrong = [path.relative_to(ROOT).as_posix() for path in sources()
             if not path.read_text(encoding="utf-8").startswith("/* SPDX-License-Identifier: MIT */\n")]
    assert not wrong
