"""Arguments: what several commands take, and what they refuse."""

import io
from datetime import timedelta
from pathlib import Path

import click
import pytest

from tasks.policy.advice import named
from worker.cli.arguments import Address, Duration, Label, confirm, grouped, read_refs, read_secret, ref_fault
from worker.cli.failures import Failure


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800), ("1.5h", 5400), ("30", 30), ("0s", 0)],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "1y", "1e9s", "ten", "99999999999s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    "url", ["https://app.example/cb?x=1", "http://127.0.0.1:8400/callback", "com.example.app:/cb", "http://[::1]/cb"]
)
def test_a_user_may_be_sent_to_the_web_or_to_an_app(url: str) -> None:
    assert Address().convert(url, None, None) == url


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "JavaScript://app.example/%0aalert(1)", "data:text/html,x", "file:///etc/passwd"),
        *("app.example/cb", "https://", "https:///cb", "https://app.example/cb#x", "https://app.example/a b", ""),
    ],
)
def test_a_user_is_sent_nowhere_else(url: str) -> None:
    with pytest.raises(click.BadParameter):
        Address().convert(url, None, None)


def test_labels_gather_their_values_in_order() -> None:
    read = [Label().convert(text, None, None) for text in ("org=a", "org=b", "org=a", "tier=gold", "gone=")]
    assert grouped(tuple(read)) == {"org": ["a", "b"], "tier": ["gold"], "gone": []}


@pytest.mark.parametrize(
    "text", ["org", "=x", "a=\x00", "a\nb=c", "a=\x1b[31m", "a=b\ud800", "a" * 256 + "=b", "a=" + "b" * 1001]
)
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Label().convert(text, None, None)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("customer-42", "customer-42 --client temple"),
        ("Hôtel d'Or", "'Hôtel d'\"'\"'Or' --client temple"),
        ("$(reboot)", "'$(reboot)' --client temple"),
        ("--json", "--client temple -- --json"),
    ],
)
def test_a_grant_is_named_as_it_must_be_typed(ref: str, words: str) -> None:
    assert named(ref, "temple") == words


def test_a_dash_stands_for_the_refs_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("b\n\n  c \nb\n"))
    assert read_refs(("a", "-", "c")) == ["a", "b", "c"]


def test_no_ref_at_all_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(Failure, match="No ref"):
        read_refs(("-",))


@pytest.mark.parametrize("ref", ["", " ", "a\x00b", "a\nb", " a", "a" * 256, "\ud800"])
def test_what_cannot_be_a_ref_is_named(ref: str) -> None:
    assert ref_fault(ref)


@pytest.mark.parametrize("ref", ["a", "customer-42", "ünïcode/ref:1", "a b", "a" * 255])
def test_any_printable_name_can_be_a_ref(ref: str) -> None:
    assert ref_fault(ref) is None


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_read_without_its_newline(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "secret"
    file.write_text(f"hush{ending}")
    assert read_secret(str(file), what="client secret") == "hush"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a\nb", b"\xff\xfe", b"a\x00b", b"x" * 70_000],
    ids=["empty", "newline", "two lines", "no UTF-8", "NUL", "huge"],
)
def test_a_file_that_holds_no_secret_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(Failure) as caught:
        read_secret(str(file), what="client secret")
    assert caught.value.exit_code == 2
    assert "client secret" in caught.value.message


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="No such file"):
        read_secret(str(tmp_path / "none"), what="client secret")


def test_without_a_terminal_what_destroys_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirm("Revoke everything?", yes=True)
    with pytest.raises(Failure) as caught:
        confirm("Revoke everything?", yes=False)
    assert (caught.value.code, caught.value.exit_code) == ("needs_yes", 2)
