"""After a siege no secret stands anywhere but where it belongs: twelve places are searched, in every encoding."""

from collections.abc import Iterable, Iterator

import pytest

from tests.attacks.canaries import PIECE, Canaries, needles
from tests.attacks.hostile import GRAVE, KINDS
from tests.attacks.long_siege import IN_ENVIRONMENTS
from tests.attacks.siege import Siege, facts
from worker.embedded.engines import Engines

pytestmark = pytest.mark.timeout(900)

KINDS_OF_SECRET = {
    *("client secret", "refresh token", "access token", "code", "state", "application key", "refresh ring"),
    *("access ring", "database password", "broker password"),
}


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """An installation that was attacked, and what it wrote and showed; its processes are alive still."""
    folder = tmp_path_factory.mktemp("siege")
    with Engines(folder / "engines") as engines, Siege.of(folder, engines) as found:
        found.lay()
        yield found


def seen(siege: Siege, places: Iterable[tuple[str, bytes]], *, but: Iterable[str] = ()) -> dict[str, set[str]]:
    """Where a canary was found, and which; fails where nothing was there to be searched."""
    seek, found, searched = siege.canaries.seeker(but=but), {}, 0
    for name, blob in places:
        searched += len(blob)
        if told := seek(blob):
            found[name] = told
    assert searched
    return found


def test_the_siege_was_one(siege: Siege) -> None:
    assert siege.canaries.kinds == KINDS_OF_SECRET, facts(siege)
    asked = siege.hostile.asked
    assert all(asked[f"{kind}/token"] for kind in (*KINDS, "tokens")), facts(siege)
    assert sum(asked[f"{kind}/token"] for kind in (*GRAVE, "malformed", "truncated")), facts(siege)
    refused = siege.installation.rows("select count(*) as n from evergrant.grants where last_error_code is not null")
    assert refused[0]["n"] > 10, facts(siege)
    assert b"crm_read" in dict(siege.database())["table grants"]


@pytest.mark.parametrize("form", range(12))
def test_the_search_finds_a_secret_in_every_form(form: int) -> None:
    canaries = Canaries()
    secret = canaries.of("a")
    forms = sorted(needles(secret))
    assert canaries.found(b"x" * 7 + forms[form % len(forms)].upper() + b"y")
    assert not canaries.found(b"nothing")


def test_the_search_finds_a_secret_wherever_it_begins() -> None:
    canaries = Canaries()
    secret = canaries.of("a", length=PIECE)
    seek = canaries.seeker()
    assert all(seek(b"-" * before + secret.encode() + b"-" * after) for before in range(17) for after in range(9))
    assert not seek(b"-" * 7 + secret[:-1].encode() + b"-" * 9)


def test_1_logs_at_debug(siege: Siege) -> None:
    assert seen(siege, siege.logs()) == {}


def test_2_the_broker(siege: Siege) -> None:
    assert seen(siege, siege.broker()) == {}


def test_3_the_database(siege: Siege) -> None:
    assert seen(siege, siege.database()) == {}


def test_4_journals(siege: Siege) -> None:
    assert seen(siege, siege.files(siege.folder / "installation" / "home" / "journals")) == {}


def test_5_command_lines(siege: Siege) -> None:
    assert seen(siege, [("a command line", line) for line in siege.command_lines]) == {}


def test_6_environments(siege: Siege) -> None:
    places = [(name, each) for name, found in siege.environments.items() for each in found]
    assert seen(siege, places, but=IN_ENVIRONMENTS) == {}


def test_7_files_that_somebody_leaves(siege: Siege) -> None:
    """The home but for its journals; temporary files; whatever lies beside."""
    left = list(siege.files(siege.folder / "tmp", siege.folder / "installation" / "home"))
    assert seen(siege, [*left, ("nothing", b" ")]) == {}
    assert not list((siege.folder).rglob("core*"))
    audit = (siege.folder / "tmp" / "audit.jsonl").read_text(encoding="utf-8")
    assert all(f'"by": "{face}"' in audit for face in ("cli", "http"))


def test_8_metrics_and_the_operators_pages(siege: Siege) -> None:
    assert seen(siege, siege.pages) == {}


def test_9_what_commands_print(siege: Siege) -> None:
    assert len(siege.said) > 60
    assert seen(siege, siege.said.items()) == {}
    assert [name for name, told in siege.said.items() if b"Traceback" in told] == []


def test_10_answers_over_http(siege: Siege) -> None:
    places = [(name, answer.body) for name, answer in siege.answers]
    assert {answer.status for _, answer in siege.answers} >= {400, 401, 403, 404}
    assert seen(siege, places) == {}
