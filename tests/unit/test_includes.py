"""Who may include whom: base < image < io < sinter < {daemon, cli}, and each foreign library in few files."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)

LAYERS = ["common/base", "common/image", "common/io", "common/sinter"]
PROGRAMS = ["daemon", "cli"]

# Which files may meet which foreign header (a pattern over the header's name).
FOREIGN = {
    r"curl/.*": {"common/io/http"},
    r"(pthread|threads)\.h": {"common/io/pool"},
    r"openssl/.*": {"common/base/digest", "common/image/minisign"},
    r"xxhash\.h|xxh3\.h": {"common/base/digest"},
    r"json.*/.*|json\.h": {"common/base/json"},
    # sd-daemon there, sd-bus here.
    r"systemd/.*": {"daemon/notify", "daemon/logind"},
    r"zstd.*\.h": {"common/image/zstd_frame"},
    r"ini\.h": {"daemon/config"},
    r"libuboot\.h": {"daemon/boot/uboot_env"},
    r"event2/.*": {"common/io/http", "common/io/pool", "common/sinter/fetch", "common/sinter/transfer",
                   "common/sinter/in_order",  # a loop of its own, for programs without one
                   "daemon/daemon", "daemon/api_server",
                   "daemon/health", "daemon/process", "daemon/doctor", "cli/"},
}


def sources():
    found = [path for folder in ["common", *PROGRAMS] for path in sorted((ROOT / folder).rglob("*.[ch]"))]
    assert found
    return found


def includes(path):
    return [(quote == '"', name) for quote, name in INCLUDE.findall(path.read_text())]


def layer_of(name):
    """The rank of a project file, and its program; a file outside the known folders has no place in the tree."""
    for rank, folder in enumerate(LAYERS):
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
    """Behind the gate of daemon_trust_arm(); the backends are asked by the job that this orders."""
    orders = [path.relative_to(ROOT).as_posix() for path in sources()
              if re.search(r"daemon_boot_submit\([^;]*DAEMON_BOOT_ARM", path.read_text())]
    calls = [path.relative_to(ROOT).as_posix() for path in sources()
             if path.suffix == ".c" and re.search(r"\bboot_arm\(", path.read_text())]
    assert orders == ["daemon/daemon_trust.c"]
    assert sorted(calls) == ["daemon/boot/boot.c", "daemon/daemon_boot.c"]


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
            if call and path.stem != "wall_clock":
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {call[1]}: call wall_clock_now_s() or its kin instead")
    assert not wrong


def test_nothing_unfinished_and_no_omnibus_files():
    wrong = []
    for path in sources():
        if path.stem in ("util", "utils", "helpers", "misc", "common"):
            wrong.append(f"{path.relative_to(ROOT)}: say what it is about")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b", line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong
