"""Times of a country, and a configuration of calls that leaves no way around TLS."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from node.cli.duty import parse_local
from node.config import load_config
from node.errors import ConfigError, UsageError
from node.federation.notifying import read_secret, webhook_signature

CONFIG = (Path(__file__).parents[3] / "deploy" / "enlace.toml").read_text()


@pytest.mark.parametrize(
    ("text", "zone", "seconds"),
    [
        ("2026-11-23T08:00", "America/Guatemala", 1_795_442_400),
        ("2026-11-23 08:00", "UTC", 1_795_420_800),
        ("2026-11-23", "America/Guatemala", 1_795_413_600),
        ("2026-07-01T00:00", "America/New_York", 1_782_878_400),
    ],
)
def test_a_time_is_the_countrys(text: str, zone: str, seconds: int) -> None:
    assert parse_local(text, ZoneInfo(zone)) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-13-01", "2026-11-23T25:00", "2026-11-23T08:00Z", "2026-03-08T02:30"]
)
def test_what_is_no_time_there_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_local(text, ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"America/Guatemala"', '"America/Nowhere"'),
        ('security = "starttls"', 'security = "none"'),
        ('security = "starttls"', 'security = "starttls"\nverify = false'),
        ("port = 587", "port = 65536"),
        ('user = "enlace"\n', ""),
        ('sender = "enlace@mail.example"', 'sender = "enlace@mail.example\\r\\nBcc: x@evil.example"'),
        ("https://pager", "http://pager"),
        ("https://pager.example", "https://user:pass@pager.example"),
        ("https://pager.example/enlace", "https://pager.example/en lace"),
    ],
)
def test_nothing_turns_tls_off(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "enlace.toml"
    path.write_text(CONFIG)
    assert load_config(path).duty.smtp is not None
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError):
        load_config(path)


def test_the_signature_is_that_of_the_scheme(tmp_path: Path) -> None:
    # A known answer of the scheme.
    path = tmp_path / "secret"
    path.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    signature = webhook_signature(read_secret(path), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"])
def test_what_is_no_secret_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_secret(path)
    with pytest.raises(ConfigError):
        read_secret(tmp_path / "missing")
