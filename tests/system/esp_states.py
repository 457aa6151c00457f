# SPDX-License-Identifier: MIT
"""Of a power cut's states: what the files on an EFI system partition hold, and what the firmware's variables say. A few
hundred states are looked at, so both are read here, and not by mounting each."""
import array
import struct

SECTOR = 512
# Where the firmware keeps a variable's attributes: valid, or valid until its successor is.
ADDED, ADDED_BUT_LEAVING = 0x3f, 0x3e


class FatFiles:
    """The files of one slot in a FAT32 file system: name in it -> the image that it should hold. `disk` is the disk's path, `original`
    the disk as it was before the first entry. What differs from that is kept for each state, sector by sector."""

    def __init__(self, disk, original, offset, size, files):
        self.disk, self.begin, self.end = disk, offset, offset + size
        self.files = {name: image.read_bytes() for name, image in files.items()}
        with open(original, "rb") as file:
            file.seek(offset)
            self.base = file.read(size)
        self.cluster_sectors, reserved, fats = struct.unpack_from("<BHB", self.base, 13)
        self.fat_sectors, = struct.unpack_from("<I", self.base, 36)
        self.root, = struct.unpack_from("<I", self.base, 44)
        assert struct.unpack_from("<H", self.base, 11)[0] == SECTOR and self.fat_sectors, "not a FAT32 of such sectors"
        self.fat_place, self.data_place = reserved, reserved + fats * self.fat_sectors

    def fresh(self):
        return {}

    def touches(self, write):
        return write.log.disk == self.disk and write.offset < self.end and write.offset + write.size > self.begin

    # Folders and the table of clusters are everybody's.
    is_shared = True

    def apply(self, changed, write, data):
        for at in range(max(write.offset, self.begin), min(write.offset + write.size, self.end), SECTOR):
            changed[(at - self.begin) // SECTOR] = data[at - write.offset:at - write.offset + SECTOR]

    def sector(self, changed, number):
        return changed.get(number) or self.base[number * SECTOR:(number + 1) * SECTOR]

    def chain(self, table, cluster):
        """The clusters of a file, until something that is no next one."""
        found = []
        while 2 <= cluster < len(table) and len(found) < len(table):
            found.append(cluster)
            cluster = table[cluster] & 0x0fffffff
        return found

    def content(self, changed, table, cluster):
        places = [self.data_place + (number - 2) * self.cluster_sectors + i for number in self.chain(table, cluster)
                  for i in range(self.cluster_sectors)]
        return b"".join([self.sector(changed, place) for place in places])

    def entries(self, folder):
        """Name in small letters -> first cluster and size, of a folder's bytes."""
        found, long_name = {}, ""
        for at in range(0, len(folder), 32):
            entry = folder[at:at + 32]
            if entry[0] == 0:
                break
            if entry[0] == 0xe5:
                long_name = ""
            elif entry[11] == 0x0f:
                piece = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace").split("\0")[0].rstrip("\uffff")
                long_name = piece + ("" if entry[0] & 0x40 else long_name)
            else:
                base, suffix = entry[:8].decode("latin-1").rstrip(), entry[8:11].decode("latin-1").rstrip()
                name = long_name or (f"{base}.{suffix}" if suffix else base)
                found[name.lower()] = (struct.unpack_from("<H", entry, 20)[0] << 16 | struct.unpack_from("<H", entry, 26)[0],
                                       struct.unpack_from("<I", entry, 28)[0])
                long_name = ""
        return found

    def is_torn(self, changed):
        table = array.array("I", b"".join([self.sector(changed, self.fat_place + i) for i in range(self.fat_sectors)]))
        for path, image in self.files.items():
            cluster = self.root
            for name in path.lower().split("/"):
                cluster, size = self.entries(self.content(changed, table, cluster)).get(name, (0, 0))
            if size != len(image) or self.content(changed, table, cluster)[:size] != image:
                return True
        return False


def variables(block):
    """The variables in the firmware's store, as UTF-16 text (EDK2: a header of a firmware volume, one of the store, and then
    each variable with a header of 60 bytes, where variables can be authenticated)."""
    at, found = struct.unpack_from("<H", block, 48)[0] + 28, {}
    while at + 60 <= len(block) and block[at:at + 2] == b"\xaa\x55":
        state = block[at + 2]
        name_size, size = struct.unpack_from("<II", block, at + 36)
        name = block[at + 60:at + 60 + name_size].decode("utf-16-le", "replace").rstrip("\0")
        value = block[at + 60 + name_size:at + 60 + name_size + size]
        if state == ADDED or (state == ADDED_BUT_LEAVING and name not in found):
            found[name] = value.decode("utf-16-le", "replace").rstrip("\0")
        at = (at + 60 + name_size + size + 3) & ~3
    return found


def systemd_boot_selection(block):
    """What systemd-boot makes of the variables: the slot it starts, and all that it starts without anybody changing them."""
    found = variables(block)
    slots = [entry.split(".")[0].removeprefix("moonsinter-") for name in ("LoaderEntryOneShot", "LoaderEntryDefault")
             if (entry := found.get(name, ""))]
    # Without a default it takes the first entry.
    if "LoaderEntryDefault" not in found:
        slots.append("a")
    return slots[0], set(slots)
