# SPDX-License-Identifier: MIT
"""What a disk may hold after a power cut, from a log of every write and flush that the guest made.

QEMU's blklogwrites writes the log, in the format of Linux's dm-log-writes. A write is safe once a flush that began after it
has ended; of the writes after the last flush any may have reached the medium, in any order. Judged are, before each flush
and at the end: none of the pending writes, all of them, each one alone, and random halves. Each one alone is what finds a
missing flush without any chance in it: the write that selects a slot is there, and nothing that it relies on is. A write
to what selects a slot may be torn, too: its first or its last half is there.

Several disks have a log each, and a flush is good for its own disk only. In which order the entries of all logs were made is
in QEMU's trace of what it writes, the logs included; an entry is made when its write or flush is done."""
import collections
import random
import re
import struct
import subprocess

FLUSH, FUA, DISCARD = 1, 2, 4
MAGIC = 0x6a736677736872
SECTOR = 512
END = object()


def logged(path, log):
    """Options of a drive of which everything is logged."""
    return (f"driver=blklogwrites,log-super-update-interval=1,file.driver=raw,file.file.driver=file,file.file.filename={path},"
            f"log.driver=file,log.filename={log},log-sector-size={SECTOR}")


def logged_disk(path, log, name, boot):
    """Arguments for a virtio disk of which everything is logged."""
    log.write_bytes(b"")
    return ["-drive", f"{logged(path, log)},if=none,id={name}",
            "-device", f"virtio-blk-pci,drive={name}" + (",bootindex=1" if boot else "")]


def traced(path):
    """Arguments that have QEMU write down the order of its writes."""
    return ["-trace", "enable=bdrv_co_pwritev_part", "-D", str(path)]


class Write:
    """A write, or where it has no size a flush. `place`: where in the log its data are."""

    def __init__(self, log, offset, size, flags, place):
        self.log, self.offset, self.size, self.flags, self.place = log, offset, size, flags, place

    def data(self):
        if self.flags & DISCARD:
            return bytes(self.size)
        self.log.file.seek(self.place)
        return self.log.file.read(self.size)

    def part(self, begin, end):
        return Write(self.log, self.offset + begin, end - begin, self.flags, self.place + begin)


class Log:
    """The log of one disk, entry by entry; data are read when they are asked for. `is_flash`: the disk is the firmware's
    flash, which has what was written to it as soon as that has ended."""

    def __init__(self, path, disk, is_flash=False):
        self.file, self.disk, self.entries = open(path, "rb"), disk, []
        magic, _, _, sector = struct.unpack("<QQQI", self.file.read(28))
        assert magic == MAGIC and sector == SECTOR, "not a log of blklogwrites"
        self.file.seek(SECTOR)
        while len(header := self.file.read(SECTOR)) == SECTOR:
            number, count, flags, _ = struct.unpack("<QQQQ", header[:32])
            if not count and not flags:
                break
            self.entries.append(Write(self, number * SECTOR, count * SECTOR, flags | (FUA if is_flash else 0), self.file.tell()))
            if not flags & DISCARD:
                self.file.seek(count * SECTOR, 1)


def in_order(logs, trace):
    """The entries of all logs in the order in which they were made."""
    if len(logs) == 1:
        return logs[0].entries
    made = collections.defaultdict(dict)
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        if found := re.match(r"bdrv_co_pwritev_part bs (\S+) offset (\d+) bytes (\d+) ", line):
            made[found[1]][int(found[2]), int(found[3])] = number
    ordered = []
    for log in logs:
        # Header and data are one write, at a place of its own in the log.
        wanted = [(entry.place - SECTOR, SECTOR + (0 if entry.flags & DISCARD else entry.size)) for entry in log.entries]
        numbers = [places for places in made.values() if all(place in places for place in wanted)]
        assert len(numbers) == 1, f"{len(numbers)} of QEMU's files were written as the log of {log.disk} was"
        ordered += [(numbers[0][place], entry) for place, entry in zip(wanted, log.entries)]
    return [entry for _, entry in sorted(ordered, key=lambda pair: pair[0])]


class Region:
    """A stretch of the disk that should hold an image: the sectors that differ from it. `original`: the disk as it was before
    the first entry."""

    def __init__(self, disk, original, offset, image):
        self.disk, self.begin, self.wrong = disk, offset, set()
        self.image = image.read_bytes()
        self.end = offset + len(self.image)
        with open(original, "rb") as file:
            file.seek(offset)
            held = file.read(len(self.image))
        for place in range(0, len(self.image), 1 << 20):
            if held[place:place + (1 << 20)] != self.image[place:place + (1 << 20)]:
                for sector in range(place, min(place + (1 << 20), len(self.image)), SECTOR):
                    if held[sector:sector + SECTOR] != self.image[sector:sector + SECTOR]:
                        self.wrong.add(sector)

    def apply(self, wrong, write, data):
        """Changes the set as the write does."""
        for at in range(max(write.offset, self.begin), min(write.offset + write.size, self.end), SECTOR):
            sector = at - self.begin
            if data[at - write.offset:at - write.offset + SECTOR] == self.image[sector:sector + SECTOR]:
                wrong.discard(sector)
            else:
                wrong.add(sector)

    def touches(self, write):
        return write.log.disk == self.disk and write.offset < self.end and write.offset + write.size > self.begin

    # Nothing but the image lies there.
    is_shared = False

    def fresh(self):
        """What is known of it before the first entry; State keeps a copy for each state."""
        return set(self.wrong)

    def is_torn(self, wrong):
        return bool(wrong)


class Small:
    """A few sectors that are read as they are, such as a loader's variables."""

    def __init__(self, disk, original, offset, size):
        self.disk, self.begin, self.end = disk, offset, offset + size
        with open(original, "rb") as file:
            file.seek(offset)
            self.bytes = bytearray(file.read(size))

    def apply(self, held, write, data):
        begin, end = max(write.offset, self.begin), min(write.offset + write.size, self.end)
        if begin < end:
            held[begin - self.begin:end - self.begin] = data[begin - write.offset:end - write.offset]

    touches = Region.touches


class State:
    """A crash state, as far as anybody looks at it: which slots are whole, and the loader's bytes. A slot's regions are named
    by its letter, and those of its parts by that, a dot and the part's name. `safe` and `extra` tell how
    to make it: the entries that came before that one in each disk's log, and these writes."""

    def __init__(self, regions, small, wrong, held, safe, extra):
        self.regions, self.small, self.wrong, self.held, self.safe, self.extra = regions, small, wrong, held, safe, extra

    def copy(self):
        return State(self.regions, self.small, {name: known.copy() for name, known in self.wrong.items()}, bytearray(self.held),
                     dict(self.safe), [])

    def apply(self, write):
        concerned = [name for name, region in self.regions.items() if region.touches(write)]
        data = write.data()
        for name in concerned:
            self.regions[name].apply(self.wrong[name], write, data)
        if self.small.touches(write):
            self.small.apply(self.held, write, data)

    def with_only(self, writes):
        """This, and these writes."""
        state = self.copy()
        for write in writes:
            state.apply(write)
        state.extra = [*self.extra, *writes]
        return state

    def torn(self, slot):
        """The regions of that slot that do not hold what they should."""
        return [name for name, known in self.wrong.items() if name.split(".")[0] == slot and self.regions[name].is_torn(known)]

    def is_whole(self, slot):
        return not self.torn(slot)


def states(entries, regions, small, seed=1):
    """Yields (number of the entry it is before, how, State) for every crash state, once. Writes that touch neither a region nor
    `small` change nothing that is judged, so they are left out of the states with one write."""
    safe = State(regions, small, {name: region.fresh() for name, region in regions.items()}, bytearray(small.bytes), {}, [])
    chance, watched = random.Random(seed), [*regions.values(), small]
    pending, known, is_new = [], set(), True
    for number, entry in enumerate([*entries, END]):
        if entry is END or entry.flags & FLUSH:
            if is_new:
                yield number, "none of the pending writes", safe
            fresh = [write for write in pending if is_new or write not in known]
            for write in fresh:
                yield number, f"only the write at {write.offset}", safe.with_only([write])
                if small.touches(write) and write.size > SECTOR:
                    half = write.size // SECTOR // 2 * SECTOR
                    yield number, f"half of the write at {write.offset}", safe.with_only([write.part(0, half)])
                    yield number, f"the other half of the write at {write.offset}", safe.with_only([write.part(half, write.size)])
            for _ in range(2 if fresh and len(pending) > 1 else 0):
                yield number, "a random half", safe.with_only([write for write in pending if chance.random() < 0.5])
            known, is_new = set(pending), False
            if entry is END:
                yield number, "all of it", safe.with_only(pending)
                return
            # The flush is good for its own disk.
            flushed = [write for write in pending if write.log is entry.log]
            pending = [write for write in pending if write.log is not entry.log]
            safe, is_new = safe.with_only(flushed), bool(flushed)
            safe.safe[entry.log.disk] = number
            safe.extra = [write for write in safe.extra if write.log is not entry.log]
        if entry is not END and entry.size and any(region.touches(entry) for region in watched):
            if entry.flags & FUA:
                safe, is_new = safe.with_only([entry]), True
            else:
                pending.append(entry)


def make_disks(entries, state, originals):
    """Makes disks as they are in that state. `originals`: a disk's path -> a copy from before the first entry."""
    for path, original in originals.items():
        subprocess.run(["cp", "--sparse=always", original, path], check=True)
        with open(path, "r+b") as disk:
            for write in [*entries[:state.safe.get(path, 0)], *state.extra]:
                if write.log.disk == path and write.size:
                    disk.seek(write.offset)
                    disk.write(write.data())
