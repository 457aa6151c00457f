# SPDX-License-Identifier: MIT
"""Images to publish: small ones of noise, and real squashfs images of this machine's Debian packages."""
import fcntl
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "moonsinter-tests"

# In the names of the cached files: raise it when what is below changes.
RECIPE = 1
TREE_BYTES = 560_000_000
IMAGE_BYTES_MIN = 150_000_000


def noise(size, seed):
    """Pseudo-random bytes, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def write_noise(path, size, seed):
    """Writes a large file of noise."""
    source = random.Random(seed)
    with open(path, "wb") as out:
        for begin in range(0, size, 1 << 24):
            out.write(source.randbytes(min(1 << 24, size - begin)))


def starts_with(path, image):
    """Whether a file or device begins with the bytes of the image."""
    size = os.path.getsize(image)
    return subprocess.run(["cmp", "-s", "-n", str(size), str(path), str(image)], check=False).returncode == 0


def changed(data, seed, edits=8):
    """Returns the data after a small upgrade: bytes are overwritten, inserted and removed here and there."""
    source = random.Random(seed)
    data = bytearray(data)
    for number in range(edits):
        at = source.randrange(len(data))
        size = source.randrange(1, 5000)
        if number % 3 == 0:
            data[at:at + size] = source.randbytes(size)
        elif number % 3 == 1:
            data[at:at] = source.randbytes(size)
        else:
            del data[at:at + size]
    return bytes(data)


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}"
    return done.stdout


def package_files(limit):
    """Lists files of installed packages, always in the same order, until their sizes add up to `limit`."""
    chosen, total = [], 0
    for folder in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share"):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(parent, name)
                try:
                    info = os.lstat(path)
                except OSError:
                    continue
                if not os.path.isfile(path) or os.path.islink(path) or not os.access(path, os.R_OK):
                    continue
                if info.st_size > 40_000_000:
                    continue
                chosen.append(path)
                total += info.st_size
                if total >= limit:
                    return chosen
    return chosen


def copy_tree(files, tree):
    for path in files:
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        shutil.copymode(path, target)


def upgrade_tree(tree, seed):
    """Changes a tree as a package upgrade does: some programs and texts change, one file comes and one goes."""
    source = random.Random(seed)
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    for path in source.sample(files, max(12, len(files) // 200)):
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(changed(data, source.random(), edits=3) if data else b"no longer empty\n")
    (tree / f"added-{seed}").write_bytes(source.randbytes(300_000))
    source.choice(files).unlink()


def debian_images():
    """The paths of three releases of a squashfs image of at least 150 MB, which are made once and kept in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    paths = [CACHE / f"debian-{RECIPE}-{number}.squashfs" for number in (1, 2, 3)]
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(path.exists() for path in paths):
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                tree = pathlib.Path(scratch) / "tree"
                copy_tree(package_files(TREE_BYTES), tree)
                for number, path in enumerate(paths):
                    if number:
                        upgrade_tree(tree, number)
                    made = pathlib.Path(scratch) / path.name
                    run("mksquashfs", tree, made, "-comp", "zstd", "-Xcompression-level", "1", "-all-root",
                        "-noappend", "-no-progress", "-no-xattrs", "-mkfs-time", "0", "-all-time", "0")
                    if made.stat().st_size < IMAGE_BYTES_MIN:
                        # Few packages are installed on this machine: do not compress them.
                        run("mksquashfs", tree, made, "-noI", "-noD", "-noF", "-noX", "-all-root", "-noappend",
                            "-no-progress", "-no-xattrs", "-mkfs-time", "0", "-all-time", "0")
                    assert made.stat().st_size >= IMAGE_BYTES_MIN, "too few packages for an image of 150 MB"
                    os.rename(made, path)
    return paths
