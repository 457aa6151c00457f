# SPDX-License-Identifier: MIT
"""Signatures, by the command: made and checked by ours and by Debian's minisign, in both directions."""
import os
import pathlib
import subprocess

import pytest

import images
import programs
from evil_server import EvilServer
from keys import Key, minisign
from loader_machines import PRIVATE, need_namespaces
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest, write_manifest

pytestmark = pytest.mark.sanitized

CONTENT = images.noise(600_000, "trust")


@pytest.fixture
def stranger(folder):
    return Key(folder / "stranger", "stranger")


@pytest.fixture
def image(folder, key):
    """Signed by generate."""
    return make_release(folder / "release", CONTENT, version="1", serial=1, options=("--sign", key.secret))


def manifest_of(image):
    return pathlib.Path(f"{image}.json")


def test_minisign_verifies_what_generate_signed(key, image):
    done = minisign("-V", "-p", key.public, "-m", manifest_of(image))
    assert "Trusted comment: file:image.json" in done.stdout
    signature = pathlib.Path(f"{image}.json.minisig").read_bytes()
    result = moonsinter("generate", image, "--version", "1", "--serial", "1", "--sign", key.secret)
    assert result.events[-1]["key"] == key.id
    assert pathlib.Path(f"{image}.json.minisig").read_bytes() == signature, "the same input, other bytes"
    moonsinter("generate", image, "--sign", key.secret, "--trusted-comment", "release 2, for the bench")
    done = minisign("-V", "-p", key.public, "-m", manifest_of(image))
    assert "Trusted comment: release 2, for the bench" in done.stdout


def test_a_signature_that_is_outdated_is_told(folder, key, image):
    """Signing afterwards, by hand, is usual; a device would not take the new manifest with the old signature."""
    signature = pathlib.Path(f"{image}.json.minisig")
    before = signature.read_bytes()
    result = moonsinter("generate", image, "--version", "2", "--serial", "2", "--quiet")
    assert result.status == 0 and result.named("signature_outdated") == [
        {"event": "signature_outdated", "value": str(signature)}], result
    assert result.names[-1] == "done"
    [line] = result.stderr.splitlines()
    assert str(signature) in line and "minisign -S -m" in line and "--sign" in line
    assert signature.read_bytes() == before
    # What is right is left alone without a word: signed by hand, and made once more from the same input.
    key.sign(manifest_of(image))
    again = moonsinter("generate", image, "--version", "2", "--serial", "2")
    assert again.status == 0 and not again.stderr and not again.named("signature_outdated"), again
    assert moonsinter("verify", image, manifest_of(image), "--key", key.public).status == 0
    # A signature of nothing that is there.
    manifest_of(image).unlink()
    assert moonsinter("generate", image, "--version", "2", "--serial", "2").named("signature_outdated")
    # Signed anew, or never signed: nothing to tell.
    assert not moonsinter("generate", image, "--serial", "3", "--sign", key.secret).stderr
    signature.unlink()
    assert not moonsinter("generate", image, "--serial", "4").stderr


def test_we_verify_what_minisign_signed(nginx, folder, key, image):
    key.sign(manifest_of(image), "-t", "signed by hand, \u00fc \x1b[31m")
    result = moonsinter("verify", image, manifest_of(image), "--key", key.public)
    assert result.status == 0, result
    assert result.events[-1]["key"] == key.id
    # What is signed is not yet fit for a terminal.
    assert result.events[-1]["trusted_comment"] == "signed by hand, \u00fc  [31m"
    # minisign's own comment has a tab in it.
    key.sign(manifest_of(image))
    result = moonsinter("clone", nginx.publish(image), folder / "out", "--key", key.public)
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == CONTENT
    [event] = [event for event in result.events if event["event"] == "dl_manifest_end"]
    assert event["key"] == key.id and "file:image.json" in event["trusted_comment"]


def test_any_of_several_keys(folder, key, stranger, image):
    result = moonsinter("verify", image, manifest_of(image), "--key", stranger.public, "--key", key.public)
    assert result.status == 0, result
    both = folder / "both"
    both.mkdir()
    for one in (stranger.public, key.public):
        os.link(one, both / one.name)
    (both / "README").write_text("not a key")
    assert moonsinter("verify", image, manifest_of(image), "--key", both).status == 0
    (both / "broken.pub").write_text("not a key")
    assert_failed(moonsinter("verify", image, manifest_of(image), "--key", both), "broken.pub", "no public key", status=2)


def test_what_is_refused(folder, key, stranger, image):
    def verify(*options):
        return moonsinter("verify", image, manifest_of(image), *options)

    assert_failed(verify("--key", stranger.public), "image.json", key.id, "not trusted")
    assert_failed(verify("--key", folder / "nothing.pub"), "nothing.pub", status=2)
    assert_failed(verify("--require-signature"), "keys.d", status=2)
    key.sign(manifest_of(image), "-l")
    assert_failed(verify("--key", key.public), "legacy", "-l")
    key.sign(image)
    os.replace(f"{image}.minisig", f"{image}.json.minisig")
    result = verify("--key", key.public)
    assert_failed(result, "not one of these bytes")
    assert result.events[-1]["kind"] == "mismatch"
    os.unlink(f"{image}.json.minisig")
    assert_failed(verify("--key", key.public), "not signed")


@pytest.mark.parametrize("verb", ["verify", "clone"])
@pytest.mark.parametrize("open_to_others", ["nothing", "folder", "key", "stranger's"])
def test_keys_of_the_machine_that_others_may_write(nginx, folder, key, image, verb, open_to_others):
    """In a namespace with an /etc of its own. The kind says that it is not the folder that is missing."""
    need_namespaces()
    arguments = ["verify", image, manifest_of(image)] if verb == "verify" else ["clone", nginx.publish(image), folder / "out"]
    spoil = {"nothing": "true", "folder": "chmod 777 keys.d", "key": "chmod 666 keys.d/*.pub",
             "stranger's": "chown 12345 keys.d/*.pub"}[open_to_others]
    script = ('mount -t tmpfs none /etc && mkdir -p /etc/moonsinter/keys.d && cd /etc/moonsinter && cp "$1" keys.d/ && '
              f'chmod 755 keys.d && chmod 644 keys.d/* && {spoil} && shift && exec "$@"')
    done = subprocess.run([*PRIVATE, "sh", "-c", script, "sh", key.public,
                           programs.MOONSINTER, *arguments, "--require-signature"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    result = programs.Result([verb], done.returncode, done.stdout, done.stderr, 0)
    if open_to_others == "nothing":
        assert result.status == 0, result
        return
    assert_failed(result, "keys.d", status=2)
    assert result.events[-1]["kind"] == "refused" and nginx.requests() == [], result


def test_a_secret_key_with_a_password_is_refused(folder, image):
    locked = folder / "locked.key"
    # As minisign writes it: the second algorithm, Sc, says that there is one. A password is only read from a terminal.
    locked.write_text("untrusted comment: minisign encrypted secret key\n"
                      "RWRTY0Iyq/dBrkFlODXMLt/WOD7jU5IRvDL4maNuDTIJJvFyGUwAAAACAAAAAAAAAEAAAAAAkiSN62oX6sh3sakOzILbQ4RYe6hhCKTI"
                      "hZVOPQqeaTOqzTK+dNmmfqGDAf5aiQq2rh3kkjlSpStC4BSTZucTrd4ZdJFu/qqXQj9ENtsUhoSD9cpxIPAVVCqxicLsuybjiX+qJLC/"
                      "U1g=\n")
    result = moonsinter("generate", image, "--sign", locked)
    assert_failed(result, "password", "minisign -S", status=2)
    assert "RWRTY0" not in result.stderr


@pytest.mark.parametrize("options", [(), ("--key", "KEY")])
def test_a_manifest_without_our_member(nginx, folder, key, image, options):
    """The ancestor's five members are enough for who trusts the server, and prove nothing to who does not."""
    members = read_manifest(image)
    del members["moonsinter"]
    write_manifest(image, members)
    key.sign(manifest_of(image))
    options = [key.public if option == "KEY" else option for option in options]
    result = moonsinter("clone", nginx.publish(image), folder / "out", *options)
    if not options:
        assert result.status == 0 and (folder / "out").read_bytes() == CONTENT
        return
    assert_failed(result, "SHA-256", "proves nothing")
    assert not (folder / "out").exists() and nginx.requests("/image") == []


def test_without_the_signed_table_nothing_is_written(folder, key, image):
    """Fixed chunks with their XXH32 serve where the server is trusted, and only there."""
    with EvilServer(image.parent) as server:
        server.behave("image.chunks", "404")
        assert moonsinter("clone", server.url("image"), folder / "trusting", "--retry-for", "1s").status == 0
        result = moonsinter("clone", server.url("image"), folder / "out", "--key", key.public, "--retry-for", "1s")
        assert_failed(result, "table of chunks", "404")
        assert not (folder / "out").exists() or (folder / "out").stat().st_size == 0
        # Once more for each time the manifest was read anew, and not the image once.
        server.reset_stats()
        server.behave("image.chunks", None)
        assert moonsinter("clone", server.url("image"), folder / "out", "--key", key.public).status == 0
        assert (folder / "out").read_bytes() == CONTENT


def test_the_signature_is_asked_for_where_it_counts(nginx, folder, key, image):
    url = nginx.publish(image)
    assert moonsinter("clone", url, folder / "out").status == 0
    assert nginx.requests("/image.json.minisig") == []
    assert moonsinter("plan", url, folder / "out", "--key", key.public).status == 0
    assert len(nginx.requests("/image.json.minisig")) == 1
