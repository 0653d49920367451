"""S2, S3, S6: where a tenant's own provider may be."""

import pytest

from domain.reach import flaw_of_base_url, is_public

INSIDE = [
    "0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "198.19.255.255", "168.63.129.16",
    "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fd00:ec2::254",
    "fc00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1", "5f00::1", "2606:4700::1111%1",
    "127.1", "0x7f000001", "2130706433", "0", "0177.0.0.1", "", "localhost", "1.2.3.4.5",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_on_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "2606:4700::1111", "2a00::1"]
)
def test_its_neighbours_are_not(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1", "https://api.example.com", "http://api.example.com:8080/v1",
        "https://8.8.8.8/v1", "https://[2606:4700::1111]:8443/v1", "HTTPS://API.EXAMPLE.COM/v1",
        "https://xn--bcher-kva.example/v1",
    ],
)  # fmt: skip
def test_a_public_url_is_fine(url: str) -> None:
    assert flaw_of_base_url(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "api.example.com", "//api.example.com", "file:///etc/passwd", "unix:/var/run/docker.sock",
        "ftp://api.example.com", "https://user:pass@api.example.com", "https://api.example.com@127.0.0.1",
        "https://api.example.com/#x", "https://api.example.com/?x=y", "https://api.example.com/\r\nx: y",
        "https://api.example.com:22", "https://api.example.com:6379", "https://api.example.com:0",
        "https://api.example.com:99999", "https://api.example.com:x", "https://api.example.com\\@127.0.0.1",
        "https://\uff11\uff12\uff17.0.0.1", "https://b\u00fccher.example", "https://api example.com", "https://",
        "https://localhost", "https://a.localhost", "https://printer.local", "https://metadata.google.internal",
        "https://intranet", "https://127.0.0.1", "https://127.1", "https://0x7f000001", "https://2130706433",
        "https://0", "https://[::1]", "https://[::]", "https://[::ffff:127.0.0.1]", "https://[fe80::1%25eth0]",
        "https://[::1", "https://169.254.169.254", "https://api.example.com.", "https://-a.example.com",
        "https://api.example.com:80:80", "https://api.example.com%00.evil.example", "https://a..example.com",
    ],
)  # fmt: skip
def test_any_other_is_not(url: str) -> None:
    assert flaw_of_base_url(url) is not None
