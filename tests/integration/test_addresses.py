# SPDX-License-Identifier: MIT
"""URLs as people write them."""
import pytest

from programs import assert_failed, moonsinter

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


@pytest.mark.parametrize("query", ["?token=a/b", "#part", "?token=x#part"])
def test_the_manifest_lies_beside_the_image_whatever_follows_its_path(nginx, small_release, folder, query):
    image, content = small_release
    url = nginx.publish(image)
    result = moonsinter("clone", url + query, folder / "out")
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == content
    asked = [request.path for request in nginx.requests()]
    assert asked[0] == "/image.json" + query.partition("#")[0]
    assert "/image.chunks" + query.partition("#")[0] in asked


def test_an_address_without_a_scheme_is_refused_without_repeating_its_password(nginx, small_release, folder):
    host = nginx.publish(small_release[0]).removeprefix("http://")
    result = moonsinter("clone", f"user:s3cret@{host}", folder / "out")
    assert_failed(result, "http://", status=2)
    assert "s3cret" not in result.stdout + result.stderr
    assert not (folder / "out").exists() and nginx.requests() == []


def test_an_empty_output_is_refused(nginx, small_release):
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), ""), "OUTPUT", status=2)


@pytest.mark.parametrize("option", [["--proxy", "http://user:s3cret@[::1"], ["--proxy", "foo://user:s3cret@127.0.0.1:1"],
                                    ["--proxy", "user:s3cret@127.0.0.1:99999"], ["--header", "Authorization s3cret"]])
def test_secrets_in_options_that_make_no_sense_are_not_repeated(nginx, small_release, folder, option):
    result = moonsinter("clone", nginx.publish(small_release[0]), folder / "out", *option)
    assert_failed(result, option[0][2:], status=1 if option[0] == "--proxy" else 2)
    assert "s3cret" not in result.stdout + result.stderr
    assert nginx.requests() == []
