"""Weather: which faults an episode has, and how often; drawn from the seed, or calm."""

from dataclasses import dataclass, field, replace
from random import Random

# What may become of one request, by what the client sees; `after`: the provider has acted by then.
FATES = (
    "refused",  # no connection: provably not sent
    "lost_before",
    "lost_after",
    "timeout_before",
    "timeout_after",
    "truncated",  # the answer is cut at byte k
    "html_before",
    "html_after",
    "http_429",
    "http_503_before",
    "http_503_after",
    "http_504_after",
    "http_500_before",
    "http_403",
    "error_inside",  # 200 with an error
    "bad_oauth_500",  # 500 whose body says invalid_grant
    "huge",  # beyond the size cap, after the provider acted
    "redirect",
    "silly",  # the right answer with a NUL in the scope, or a life of 10^18 seconds
    "late",  # slow to connect, and an answer near the deadline
)
OUTAGES = ("refused", "timeout_before", "http_503_before", "http_503_after", "http_504_after", "lost_after", "http_429")

# How a provider refuses a dead refresh token: status and error, as its habit `says_dead` has it. The word of RFC 6749,
# and words that nobody understands; `page` is HTML, `{}` a success that says nothing, and the last two are what others
# say of our credentials.
UNDERSTOOD = "400 invalid_grant"
PAGE = "page"
NOTHING = "{}"
DIALECTS = (
    "403 unauthorized_client",
    "200 bad_refresh_token",
    "401 invalid_token",
    "400 invalid_request",
    "403 page",
    f"200 {NOTHING}",
    "401 invalid_grant",
    "401 invalid_client",
)


@dataclass(frozen=True)
class Weather:
    """Probabilities: of a request for its fate, of a step for a kill, of an hour for what happens in the large."""

    fates: dict[str, float] = field(default_factory=dict)
    kill: float = 0.0  # at each step of a process
    freeze: float = 0.0  # at each step that may wait
    freeze_last: float = 0.0  # between the last guard and the first byte: nobody can defend against it
    strand: float = 0.0  # how much of the work runs so that every step may fail
    commit_reset: float = 0.0  # of transactions in such work
    disk: float = 0.0  # of writes and syncs
    duplicate: float = 0.0
    lose: float = 0.0
    delay: float = 0.0
    hourly: dict[str, float] = field(default_factory=dict)
    says_dead: str = UNDERSTOOD
    explained: bool = False  # a rule of the provider's file says what that means
    life: float = 7200.0  # s, of an access token
    grants: int = 60

    @property
    def word(self) -> str | None:
        """The code under which we know the provider's own word for a dead refresh token; None: it says it as all do."""
        status, _, code = self.says_dead.partition(" ")
        own = {PAGE: f"http_{status}", NOTHING: "unreadable"}.get(code, code)
        return None if self.says_dead == UNDERSTOOD or self.explained else own

    def milder(self, share: float) -> "Weather":
        """Fewer lost answers: where each costs a grant, a storm would only leave dead ones."""
        return replace(self, fates={name: chance * share for name, chance in self.fates.items()})

    def at_life(self, life: float) -> "Weather":
        """The same happenings a life, for access tokens of another life (s): else users of a token that lives for a
        day would come and go a hundred times before it is ever refreshed."""
        slower = self.life / life
        return replace(self, life=life, hourly={name: chance * slower for name, chance in self.hourly.items()})


HOURLY = (
    "outage",
    "database_away",
    "fail_over",
    "restore",
    "broker_flush",
    "broker_away",
    "disk_full",
    "wrong_secret",
    "pause",
    "pause_client",
    "user_revokes",
    "exodus",
    "mistake",
    "revoke",
    "reconsent",
    "request",
    "redrive",
    "clock_jump",
    "no_beat",
    "no_worker",
    "rolling_restart",
    "forge",
    "use",
    "stall",
    "strike",
)
OF_ITS_OWN = ("mistake",)  # only where nothing else explains a verdict on a grant that lives
OFTEN = {"request": 8, "use": 8, "stall": 8, "strike": 4}
RARE = {"fail_over": 0.05, "restore": 0.05, "no_worker": 0.1, "no_beat": 0.2, "wrong_secret": 0.2, "outage": 0.3}
RARE |= {"exodus": 0.2}


def draw(random: Random) -> Weather:
    """Draw a weather: each kind of fault is there or not, and often or seldom."""

    def maybe(chance: float, low: float, high: float) -> float:
        return low * (high / low) ** random.random() if random.random() < chance else 0.0

    often = maybe(0.7, 0.002, 0.15)
    fates = {name: often * random.random() ** 2 for name in FATES if random.random() < 0.6}
    hourly = {
        name: maybe(0.5, 0.02, 1.0) * RARE.get(name, 1.0) * OFTEN.get(name, 1)
        for name in HOURLY
        if name not in OF_ITS_OWN
    }
    says_dead = random.choice(DIALECTS) if random.random() < 0.5 else UNDERSTOOD
    if says_dead.endswith(NOTHING):
        fates.pop("html_after", None)  # a page comes under the same code: the judge could not tell one from the other
    return Weather(
        fates=fates,
        kill=maybe(0.6, 0.00003, 0.002),
        freeze=maybe(0.4, 0.0005, 0.02),
        freeze_last=maybe(0.1, 0.0002, 0.005),
        strand=random.choice((0.0, 0.02, 0.1, 0.3)),
        commit_reset=maybe(0.5, 0.001, 0.05),
        disk=maybe(0.3, 0.0005, 0.02),
        duplicate=maybe(0.5, 0.01, 0.5),
        lose=maybe(0.5, 0.005, 0.2),
        delay=maybe(0.5, 0.01, 0.3),
        hourly=hourly,
        says_dead=says_dead,
    )


def only_deaths(random: Random) -> Weather:
    """Draw a weather in which users withdraw, many at one instant and others one by one, and nothing else happens."""
    life, grants = random.choice(((600.0, 15), (600.0, 60), (1800.0, 150), (7200.0, 15), (7200.0, 150)))
    lives_an_hour = 3600 / life
    return Weather(
        hourly={
            "exodus": lives_an_hour * random.choice((0.0, 0.5, 1.0)),
            "user_revokes": lives_an_hour * random.choice((0.0, 3.0, 15.0)),
        },
        says_dead=random.choice(DIALECTS),
        life=life,
        grants=grants,
    )


def deaths_and_trouble(random: Random) -> Weather:
    """Draw a weather of deaths beside a wrong secret or an outage, now and then: which of them is it?"""
    weather = only_deaths(random)
    lives_an_hour = 3600 / weather.life
    trouble = random.choice(("wrong_secret", "outage"))
    return replace(weather, hourly={**weather.hourly, trouble: lives_an_hour * random.choice((0.1, 0.3))})


def few_and_understood(random: Random) -> Weather:
    """Draw a weather of deaths in the words of RFC 6749 in a small fleet, where seldom anybody is a witness."""
    return Weather(
        hourly={
            "user_revokes": random.choice((0.3, 1.0)),
            "exodus": random.choice((0.0, 0.1)),
            "mistake": random.choice((0.0, 0.3)),
        },
        grants=random.choice((5, 10)),
    )


WEATHERS = {
    "all": draw,
    "deaths": only_deaths,
    "deaths_and_trouble": deaths_and_trouble,
    "few_and_understood": few_and_understood,
}
