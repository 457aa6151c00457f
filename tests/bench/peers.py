# SPDX-License-Identifier: MIT
"""The other tools that moonsinter is measured beside. Each is a row: what has to be installed, and bash commands.

The commands see these variables:
  IMAGE       the image that is published       NAME      its file name
  SEED        a slot that holds SEED_IMAGE      TARGET    the slot to be written, of the same size
  WWW URL     the tool's folder on the server   KEPT      a folder that the device keeps from the update before
  SCRATCH     an empty folder, cleared after each command
  HOST RSYNC_PORT MODULE_PATH                   the rsync server and the path of WWW in it
An `update` row is published, prepared (not measured) and run, and what the server sent is counted. A `file` row makes
$SCRATCH/out, whose size counts: a download or a delta of the whole image as one file.
"""
import dataclasses
import shutil

SIGN_AND_PACK_SWU = r"""
cd "$KEPT"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3 -subj /CN=bench \
    -addext extendedKeyUsage=emailProtection 2>/dev/null
header_size=$(zck_read_header "$WWW/$NAME.zck" | sed -n 's/^Header size: //p')
head -c "$header_size" "$WWW/$NAME.zck" >header
cat >sw-description <<END
software = { version = "1"; hardware-compatibility: [ "1.0" ]; images: ( {
  filename = "header"; type = "delta"; device = "$TARGET"; sha256 = "$(sha256sum header | cut -c 1-64)";
  properties: { url = "$URL/$NAME.zck"; chain = "raw"; source = "$SEED"; zckloglevel = "error"; }; } ); }
END
openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem -outform DER \
    -nosmimecap -binary
printf '%s\n' sw-description sw-description.sig header | cpio -o -H crc --quiet >"$WWW/$NAME.swu"
"""


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    programs: tuple      # all of them must be installed
    note: str
    kind: str = "update"  # or "file"
    publish: str = ""
    prepare: str = ""
    run: str = ""
    image_bytes_max: int = 0  # 0: any

    def missing(self):
        return [program for program in self.programs if not shutil.which(program)]


PEERS = [
    Peer("casync", ("casync",), "chunks of 64K on average, one request each; the target's old content is no seed",
         publish='casync make --store="$WWW/$NAME.castr" "$WWW/$NAME.caibx" "$IMAGE"',
         run='casync extract --store="$URL/$NAME.castr" --seed="$SEED" --seed-output=no "$URL/$NAME.caibx" "$TARGET"'),
    Peer("desync", ("desync",), "as casync, ten connections; the seed's index is kept",
         publish='mkdir -p "$WWW/store"; desync make -s "$WWW/store" "$WWW/$NAME.caibx" "$IMAGE"',
         prepare='ln -s "$SEED" "$KEPT/seed"; desync make "$KEPT/seed.caibx" "$SEED_IMAGE"',
         run='desync extract -k --seed "$KEPT/seed.caibx" -s "$URL/store" "$URL/$NAME.caibx" "$TARGET"'),
    Peer("bita", ("bita",), "one archive, neighbouring ranges merged",
         publish='bita compress --compression zstd --compression-level 19 -f -i "$IMAGE" "$WWW/$NAME.cba"',
         run='bita clone --seed "$SEED" --seed-output "$URL/$NAME.cba" "$TARGET"'),
    Peer("zchunk", ("zck", "zckdl", "unzck"), "the seed is kept as a .zck too; scratch file",
         publish='zck -o "$WWW/$NAME.zck" "$IMAGE"',
         prepare='zck -o "$KEPT/seed.zck" "$SEED_IMAGE"',
         run='cd "$SCRATCH"; zckdl -s "$KEPT/seed.zck" "$URL/$NAME.zck" >&2; unzck -c "$NAME.zck" 1<>"$TARGET"'),
    Peer("swupdate", ("swupdate", "zck", "zck_read_header", "openssl", "cpio", "curl"), "its delta handler over zck -u",
         publish='zck -u -h sha256 -o "$WWW/$NAME.zck" "$IMAGE"',
         prepare=SIGN_AND_PACK_SWU,
         run='cd "$SCRATCH"; curl -sf "$URL/$NAME.swu" -o update.swu;'
             ' swupdate -M -m -H bench:1.0 -k "$KEPT/cert.pem" -l 1 -i update.swu >&2'),
    Peer("zsync", ("zsync", "zsyncmake"), "fixed blocks at any byte offset; scratch file",
         publish='ln -sf "$IMAGE" "$WWW/$NAME"; cd "$WWW"; zsyncmake -u "$NAME" -f "$NAME" -o "$NAME.zsync" "$IMAGE" >&2',
         run='cd "$SCRATCH"; zsync -q -i "$SEED" -i "$TARGET" -o out "$URL/$NAME.zsync" >&2; cat out 1<>"$TARGET"'),
    Peer("rsync", ("rsync",), "a server that computes; scratch file",
         publish='cp --reflink=auto "$IMAGE" "$WWW/$NAME"',
         prepare='ln "$SEED" "$KEPT/$NAME"',
         run='rsync -q --no-whole-file --inplace --compare-dest="$KEPT" "rsync://$HOST:$RSYNC_PORT/$MODULE_PATH/$NAME"'
             ' "$SCRATCH/$NAME"; cat "$SCRATCH/$NAME" 1<>"$TARGET"'),
    Peer("zstd -19 --long", ("zstd",), "the whole image as one compressed file", kind="file",
         run='zstd -q -19 --long -T0 -c "$IMAGE" >"$SCRATCH/out"'),
    Peer("xdelta3 -9", ("xdelta3",), "a delta of this very pair", kind="file", image_bytes_max=1 << 30,
         run='xdelta3 -e -9 -B "$(stat -L -c %s "$SEED_IMAGE")" -s "$SEED_IMAGE" "$IMAGE" "$SCRATCH/out"'),
    Peer("zstd -19 --patch-from", ("zstd",), "a delta of this very pair", kind="file", image_bytes_max=1 << 30,
         run='zstd -q -19 --long=30 -T0 --patch-from="$SEED_IMAGE" "$IMAGE" -c >"$SCRATCH/out"'),
]

# What a device could use in the place of moonsinter. A delta of the whole pair serves one old release only.
UPDATERS = [peer.name for peer in PEERS if peer.kind == "update"] + ["zstd -19 --long"]
DELTAS = ["xdelta3 -9", "zstd -19 --patch-from"]
