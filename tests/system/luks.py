# SPDX-License-Identifier: MIT
"""Encrypts an image as a LUKS device, on machines where no device can be mapped: cryptsetup makes the header, and the sectors are
encrypted here with the volume key that it tells, as dm-crypt does for aes-xts-plain64 (dm-crypt's documentation in the kernel's tree)."""
import pathlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from guest_tree import run

HEADER_MIB = 16
SECTOR = 512  # the tests' ext4 has blocks of 1 KiB, and no device with larger sectors can hold it


def encrypt(path, key, size_mib, image=None):
    """Makes a file of that size, a LUKS2 device with that key which holds the image (or nothing); returns its path."""
    key_file, volume_key = path.with_suffix(".key"), path.with_suffix(".volume-key")
    key_file.write_bytes(key)
    with open(path, "wb") as out:
        out.truncate(size_mib << 20)
    # A key derived in a moment: what the test is about is not how long guessing takes.
    run("cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--key-file", key_file, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
        "--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", SECTOR, "--offset", (HEADER_MIB << 20) // 512, path)
    if not image:
        return path
    run("cryptsetup", "luksDump", "--batch-mode", "--dump-volume-key", "--volume-key-file", volume_key, "--key-file", key_file, path)
    secret = volume_key.read_bytes()
    content = pathlib.Path(image).read_bytes()
    with open(path, "r+b") as out:
        out.seek(HEADER_MIB << 20)
        for offset in range(0, len(content), SECTOR):
            tweak = (offset // SECTOR).to_bytes(16, "little")
            encryptor = Cipher(algorithms.AES(secret), modes.XTS(tweak)).encryptor()
            out.write(encryptor.update(content[offset:offset + SECTOR]) + encryptor.finalize())
    return path
