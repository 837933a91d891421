"""Links to packages."""

import urllib.parse

import pytest

from runtime.api import downloads

SHA = "a" * 64


def check(links, link, now):
    parts = urllib.parse.urlsplit(link)
    return links.package(parts.path, parts.query, now)


def test_a_link_lives_for_ten_minutes():
    links = downloads.Links()
    link = links.link(SHA, 1000.5)
    assert check(links, link, 1000.5) == check(links, link, 1600) == SHA
    assert check(links, link, 1601) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda link: link.replace(SHA, "b" * 64),
        lambda link: link.replace("Expires=1600", "Expires=9999"),
        lambda link: link.partition("&")[0],
        lambda link: link.partition("?")[0],
        lambda link: link.replace("Signature=", "Signature=é"),
        lambda link: link.replace("Expires=1600", "Expires="),
    ],
)
def test_forged_links(forge):
    links = downloads.Links(b"key")
    assert check(links, forge(links.link(SHA, 1000)), 1000) is None


def test_another_process_has_another_key():
    assert check(downloads.Links(), downloads.Links().link(SHA, 1000), 1000) is None
