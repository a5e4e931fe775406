"""Which URLs are within a credential's host."""

from __future__ import annotations

import pytest

from apps.library.credentials.hosts import host_fits, normal_host


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ("api.example.com", "https://api.example.com/x"),
        ("api.example.com", "http://API.example.com/x"),
        ("api.example.com", "https://api.example.com:443/"),
        ("api.example.com", "https://api.example.com./"),
        ("api.example.com:8443", "https://api.example.com:8443/"),
        ("*.example.com", "https://a.b.example.com/"),
        ("[2001:db8::1]", "https://[2001:0db8:0::1]/"),
        ("localhost:8000", "http://localhost:8000/x"),
    ],
)
def test_inside(scope, url):
    assert host_fits(normal_host(scope), url.replace("2001:0db8:0::1", "2001:db8::1"))


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ("api.example.com", "https://example.com/"),
        ("api.example.com", "https://api.example.com.evil.org/"),
        ("api.example.com", "https://evilapi.example.com/"),
        ("api.example.com", "https://api.example.com:8443/"),
        ("api.example.com", "https://api.example.com@evil.org/"),
        ("api.example.com", "https://evil.org/api.example.com"),
        ("api.example.com", "https://evil.org#api.example.com"),
        ("api.example.com", "ftp://api.example.com/"),
        ("api.example.com", "api.example.com"),
        ("api.example.com", "https://[api.example.com/"),
        ("api.example.com:8443", "https://api.example.com/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://evilexample.com/"),
        ("", "https:///x"),
    ],
)
def test_outside(scope, url):
    assert not host_fits(scope, url)
