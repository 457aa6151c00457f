"""What a disk may hold after a power cut, from a log of every write and flush that the guest made.

QEMU's blklogwrites writes the log, in the format of Linux's dm-log-writes. A write is safe once a flush that began after it
has ended; of the writes after the last flush any may have reached the medium, in any order. Judged are, before each flush
and at the end: none of the pending writes, all of them, each one alone, and random halves. Each one alone is what finds a
missing flush without any chance in it: the write that selects a slot is there, and nothing that it relies on is."""
import random
import struct

FLUSH, FUA, DISCARD = 1, 2, 4
MAGIC = 0x6a736677736872
SECTOR = 512
END = object()


def logged_disk(path, log, name="disk"):
    """Arguments for a virtio disk of which everything is logged."""
    log.write_bytes(b"")
    return ["-drive", f"driver=blklogwrites,log-super-update-interval=1,file.driver=raw,file.file.driver=file,"
            f"file.file.filename={path},log.driver=file,log.filename={log},log-sector-size={SECTOR},if=none,id={name}",
            "-device", f"virtio-blk-pci,drive={name},bootindex=1"]


class Write:
    def __init__(self, offset, size, flags, place):
        self.offset, self.size, self.flags, self.place = offset, size, flags, place


class Log:
    """The log, entry by entry; data are read when they are asked for."""

    def __init__(self, path):
        self.file, self.entries = open(path, "rb"), []
        magic, _, _, sector = struct.unpack("<QQQI", self.file.read(28))
        assert magic == MAGIC and sector == SECTOR, "not a log of blklogwrites"
        self.file.seek(SECTOR)
        while len(header := self.file.read(SECTOR)) == SECTOR:
            number, count, flags, _ = struct.unpack("<QQQQ", header[:32])
            if not count and not flags:
                break
            self.entries.append(Write(number * SECTOR, count * SECTOR, flags, self.file.tell()))
            if not flags & DISCARD:
                self.file.seek(count * SECTOR, 1)

    def data(self, write):
        if write.flags & DISCARD:
            return bytes(write.size)
        self.file.seek(write.place)
        return self.file.read(write.size)


class Region:
    """A stretch of the disk that should hold an image: the sectors that differ from it."""

    def __init__(self, disk, offset, image):
        self.begin, self.wrong = offset, set()
        self.image = image.read_bytes()
        self.end = offset + len(self.image)
        with open(disk, "rb") as file:
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
        return write.offset < self.end and write.offset + write.size > self.begin


class Small:
    """A few sectors that are read as they are, such as a loader's variables."""

    def __init__(self, disk, offset, size):
        self.begin, self.end = offset, offset + size
        with open(disk, "rb") as file:
            file.seek(offset)
            self.bytes = bytearray(file.read(size))

    def apply(self, held, write, data):
        begin, end = max(write.offset, self.begin), min(write.offset + write.size, self.end)
        if begin < end:
            held[begin - self.begin:end - self.begin] = data[begin - write.offset:end - write.offset]

    touches = Region.touches


class State:
    """A crash state, as far as anybody looks at it: which slots are whole, and the loader's bytes."""

    def __init__(self, regions, small, wrong, held):
        self.regions, self.small, self.wrong, self.held = regions, small, wrong, held

    def copy(self):
        return State(self.regions, self.small, {name: set(sectors) for name, sectors in self.wrong.items()}, bytearray(self.held))

    def apply(self, log, write):
        if not write.size:
            return
        concerned = [name for name, region in self.regions.items() if region.touches(write)]
        if concerned or self.small.touches(write):
            data = log.data(write)
            for name in concerned:
                self.regions[name].apply(self.wrong[name], write, data)
            self.small.apply(self.held, write, data)

    def is_whole(self, name):
        return not self.wrong[name]


def states(log, regions, small, seed=1, halves=2):
    """Yields (number of the entry it is before, how, State) for every crash state. Writes that touch neither a region nor
    `small` change nothing that is judged, so they are left out of the states with one write."""
    safe = State(regions, small, {name: set(region.wrong) for name, region in regions.items()}, bytearray(small.bytes))
    chance, pending = random.Random(seed), []
    watched = [*regions.values(), small]
    for number, entry in enumerate([*log.entries, END]):
        if entry is END or entry.flags & FLUSH:
            yield number, "none of the pending writes", safe
            for write in pending:
                alone = safe.copy()
                alone.apply(log, write)
                yield number, f"only the write at {write.offset}", alone
            for _ in range(halves if len(pending) > 1 else 0):
                half = safe.copy()
                for write in pending:
                    if chance.random() < 0.5:
                        half.apply(log, write)
                yield number, "a random half", half
            for write in pending:
                safe.apply(log, write)
            pending = []
        if entry is not END and entry.size and any(region.touches(entry) for region in watched):
            if entry.flags & FUA:
                safe.apply(log, entry)
            else:
                pending.append(entry)
    yield len(log.entries), "all of it", safe
