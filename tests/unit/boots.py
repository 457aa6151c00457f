# SPDX-License-Identifier: MIT
"""A tree with a boot loader's files in it, the daemon's boot selection on it (boot_tool), and power cuts: every call's
file operations are recorded by strace, and what a cut may leave after each of them is rebuilt and read again."""
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MOONSINTER_BUILD", ROOT / "build")).resolve()
TOOL = BUILD / "tests" / "unit" / "boot_tool"
SECTOR = 512


class Refused(Exception):
    pass


class Loader:
    """The files under `root`, and [Boot] settings that point at them."""

    def __init__(self, root, backend, slots=("/dev/mmcblk0p2", "/dev/mmcblk0p3"), **settings):
        self.root = pathlib.Path(root)
        self.configure(backend, slots, **settings)

    def configure(self, backend, slots=("/dev/mmcblk0p2", "/dev/mmcblk0p3"), parts=None, **settings):
        """`parts`: name of a part -> its places in slot A and B."""
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        self.write("etc/test.conf", f"[Update]\nUrl=http://127.0.0.1/image\n[Slots]\nA={slots[0]}\nB={slots[1]}\n"
                                    f"[Boot]\nBackend={backend}\n{lines}"
                   + "".join(f"[Part {name}]\nA={a}\nB={b}\n" for name, (a, b) in (parts or {}).items()))

    def has_partitions(self, *numbers):
        """What the kernel says of the disk."""
        for number in numbers:
            self.write(f"sys/class/block/mmcblk0p{number}/dev", f"179:{number}\n")
            self.write(f"sys/dev/block/179:{number}/partition", f"{number}\n")
            self.write(f"sys/dev/block/179:{number}/dev", f"179:{number}\n")

    def runs(self, slot):
        """What the kernel says: that one of two partitions was started."""
        self.has_partitions(2, 3)
        self.write("proc/cmdline", f"console=ttyS0 root=/dev/mmcblk0p{2 + 'ab'.index(slot)} rootwait\n")

    def path(self, name):
        return self.root / name.lstrip("/")

    def write(self, name, data):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def read_bytes(self, name):
        return self.path(name).read_bytes()

    def command(self, verb, *slot):
        return [str(TOOL), str(self.root), "/etc/test.conf", verb, *slot]

    def call(self, verb, *slot):
        """What could be armed can be given up before it, too; else an update would be downloaded in vain."""
        if verb != "invalidate":
            return self.call_alone(verb, *slot)
        before = snapshot(self)
        try:
            self.call_alone("can-arm", *slot)
        except Refused:
            return self.call_alone(verb, *slot)
        after = {path: data for path, data in snapshot(self).items() if not path.endswith("/loader/calls")}
        assert after.items() <= before.items(), "a question changed something"
        try:
            return self.call_alone(verb, *slot)
        except Refused as refused:
            raise AssertionError(f"it could be armed, and {verb} {slot} says: {refused}") from refused

    def call_alone(self, verb, *slot):
        done = subprocess.run(self.command(verb, *slot), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 1), f"{verb}: exit status {done.returncode}: {done.stderr}"
        answer = json.loads(done.stdout)
        if done.returncode:
            raise Refused(answer["message"])
        return answer

    def state(self):
        return self.call("read")

    def expect(self, **members):
        state = self.state()
        assert {key: state[key] for key in members} == members, state

    def findings(self, level):
        return [finding["sentence"] for finding in self.call("probe")["findings"] if finding["level"] == level]


# --- recording ---

STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
CALLS = ("open,openat,creat,write,writev,pwrite64,pwritev,ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,"
         "unlinkat,link,linkat,symlink,symlinkat,mkdir,mkdirat,fsync,fdatasync,syncfs,sync,lseek,close,mmap,ioctl")


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


def record(loader, verb, *slot):
    """The operations on files of the tree, in order: ("truncate", path, size), ("write", path, offset, data),
    ("rename", from, to), ("unlink", path), ("sync", path). The call is really made. Opens the tree's files only."""
    if os.environ.get("MOONSINTER_SANITIZED"):
        pytest.skip("strace and the leak sanitizer do not go together")
    trace = loader.root.parent / "trace"
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    done = subprocess.run(["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", trace,
                           *loader.command(verb, *slot)], capture_output=True, text=True, timeout=60, check=False)
    if not trace.exists() or "+++ exited with" not in trace.read_text()[-200:]:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    operations, offsets = [], {}
    for line in trace.read_text().splitlines():
        _, _, line = line.partition(" ")
        match = re.match(r"\s*(\w+)\((.*)\)\s+= (-?\d+)", line)
        if not match or match[3].startswith("-"):
            continue
        for operation in interpret(match[1], match[2], match[3], offsets, line):
            if operation[0] == "sync" or str(operation[1]).startswith(str(loader.root)):
                operations.append(operation)
    return operations


def interpret(name, arguments, result, offsets, line):
    """One line of strace's as operations; what could write and is not understood fails the test."""
    # A descriptor comes with its path in hexadecimal: 3<\x2f...>
    described = re.match(r"(\d+)<((?:\\x[0-9a-f]{2})*)>", arguments)
    number, path = (int(described[1]), unhex(described[2]).decode()) if described else (None, None)
    strings = [unhex(text) for text in STRING.findall(arguments)]
    if name in ("open", "openat", "creat"):
        opened = strings[0].decode()
        offsets[int(result)] = 0
        if name == "creat" or "O_TRUNC" in arguments:
            yield "truncate", opened, 0
        elif "O_CREAT" in arguments:
            yield "create", opened
    elif name == "write":
        yield "write", path, offsets.get(number, 0), strings[0][:int(result)]
        offsets[number] = offsets.get(number, 0) + int(result)
    elif name == "pwrite64":
        yield "write", path, int(arguments.rsplit(", ", 1)[1]), strings[0][:int(result)]
    elif name == "lseek":
        offsets[number] = int(result)
    elif name in ("fsync", "fdatasync", "syncfs", "sync"):
        yield "sync", path
    elif name == "ftruncate":
        yield "truncate", path, int(arguments.rsplit(", ", 1)[1])
    elif name in ("rename", "renameat", "renameat2"):
        yield "rename", strings[0].decode(), strings[1].decode()
    elif name in ("unlink", "unlinkat"):
        yield "unlink", strings[0].decode()
    elif name == "mmap":
        assert not ("PROT_WRITE" in arguments and "MAP_SHARED" in arguments), line
    elif name not in ("close", "ioctl"):
        yield "unknown", strings[0].decode() if strings else path, line


# --- power cuts ---

def apply(files, operation, sectors=None):
    """`sectors`: of a write, only those that arrived."""
    kind, path = operation[:2]
    if kind == "truncate":
        old = files.get(path, b"")
        files[path] = old[:operation[2]] + bytes(max(0, operation[2] - len(old)))
    elif kind == "create":
        files.setdefault(path, b"")
    elif kind == "write":
        offset, data = operation[2:]
        old = bytearray(files.get(path, b""))
        for at, piece in cut(offset, data):
            if sectors is None or at in sectors:
                if len(old) < at + len(piece):
                    old.extend(bytes(at + len(piece) - len(old)))
                old[at:at + len(piece)] = piece
        files[path] = bytes(old)
    elif kind == "rename":
        files[operation[2]] = files.pop(path)
    elif kind == "unlink":
        files.pop(path, None)
    else:
        assert kind == "sync", f"an operation that no power cut is known for: {operation}"


def cut(offset, data):
    """A write in the sectors of the medium."""
    at = offset
    while at < offset + len(data):
        end = min((at // SECTOR + 1) * SECTOR, offset + len(data))
        yield at, data[at - offset:end - offset]
        at = end


def tears(operation, chance):
    """Which sectors of a write may have arrived: all subsets of few, or the first ones, the last ones and some."""
    places = [at for at, _ in cut(operation[2], operation[3])]
    if len(places) <= 3:
        return [set(some) for size in range(len(places) + 1) for some in itertools.combinations(places, size)]
    some = [set(places[:size]) for size in range(len(places) + 1)] + [set(places[size:]) for size in range(len(places))]
    return some + [{place for place in places if chance.random() < 0.5} for _ in range(10)]


def crash_states(files, operations, chance, torn):
    """What a cut may leave: at each point all that was synced, and any part of what was not yet, in any order.
    `torn`: a write may arrive in part."""
    durable, pending = dict(files), []
    for operation in [*operations, ("sync", "")]:
        if operation[0] == "sync":
            for waiting in pending:
                apply(durable, waiting)
            pending = []
            yield dict(durable)
            continue
        pending.append(operation)
        assert len(pending) <= 8, "too much between two syncs"
        for size in range(len(pending) + 1):
            for some in itertools.combinations(pending, size):
                whole = dict(durable)
                try:
                    for arrived in some:
                        apply(whole, arrived)
                except KeyError:
                    continue  # a rename of what never came to be
                yield whole
                if torn and some and some[-1][0] == "write":
                    for sectors in tears(some[-1], chance):
                        part = dict(durable)
                        for arrived in some[:-1]:
                            apply(part, arrived)
                        apply(part, some[-1], sectors)
                        yield part


def snapshot(loader):
    return {str(path): path.read_bytes() for path in loader.root.rglob("*")
            if path.is_file() and not path.is_symlink() and path.name != "test.conf"}


def restore(loader, files):
    for path in snapshot(loader).keys() - files.keys():
        os.unlink(path)
    for path, data in files.items():
        pathlib.Path(path).write_bytes(data)


def judge(loader):
    try:
        return json.dumps(loader.state(), sort_keys=True)
    except Refused as refused:
        return f"unreadable: {refused}"


def power_cuts(loader, verb, *slot, torn=True):
    """Makes the call and cuts the power everywhere in it. Returns how often which state was read: "old", "new", or
    what else there was. The new state is left in place."""
    before = snapshot(loader)
    old = judge(loader)
    operations = record(loader, verb, *slot)
    after = snapshot(loader)
    new = judge(loader)
    counted, seen = {}, set()
    for files in crash_states(before, operations, random.Random(1), torn):
        key = tuple(sorted(files.items()))
        if key in seen:
            continue
        seen.add(key)
        restore(loader, files)
        found = judge(loader)
        name = "new" if found == new else "old" if found == old else found
        counted[name] = counted.get(name, 0) + 1
    restore(loader, after)
    return counted, operations


def assert_atomic(loader, verb, *slot, torn=True):
    counted, operations = power_cuts(loader, verb, *slot, torn=torn)
    assert set(counted) <= {"old", "new"}, f"{verb} {slot}: {counted}"
    assert not operations or operations[-1][0] == "sync", f"{verb} {slot} ends without a sync: {operations}"
    return counted
