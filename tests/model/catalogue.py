"""What is checked: profiles, weathers, wrong designs, and orders of events that the code does not exclude yet."""

from dataclasses import dataclass

PROFILES = ("none", "on_use", "until_next_refresh", "grace", "immediate", "family")


@dataclass(frozen=True)
class Weather:
    """What may happen beside crashes, freezes, lost answers and full disks, and how many pairs of tokens there are.

    `progress`: few faults, and a formula: the grant gets on. Of `grace` there are fewer pairs, for its ages cost more.
    """

    name: str
    switches: tuple[str, ...]
    pairs: int
    pairs_at_grace: int
    progress: bool = False

    def switches_at(self, profile: str) -> tuple[str, ...]:
        """The switches that make a run of it."""
        pairs = self.pairs_at_grace if profile == "grace" else self.pairs
        return (f"-DPROFILE={profile.upper()}", f"-DPAIRS={pairs}", *self.switches)


WEATHERS = {
    weather.name: weather
    for weather in (
        Weather("faults", (), pairs=4, pairs_at_grace=3),
        Weather("refusals", ("-DREFUSALS",), pairs=3, pairs_at_grace=2),
        Weather("withdrawal", ("-DWITHDRAWAL",), pairs=3, pairs_at_grace=2),
        Weather("revocation", ("-DREVOCATION",), pairs=3, pairs_at_grace=2),
        Weather("progress", ("-DLIVE", "-DWITHDRAWAL", "-DFAULTS=3"), pairs=3, pairs_at_grace=3, progress=True),
        Weather("its end comes", ("-DLIVE", "-DREVOCATION", "-DFAULTS=2"), pairs=3, pairs_at_grace=2, progress=True),
    )
}


@dataclass(frozen=True)
class Mutant:
    """A wrong design, a switch of the model; it must be violated at this profile in this weather.

    `seen_by`: the property that is violated, as it is called in promela/judge.pml.
    """

    name: str
    what: str
    profile: str
    seen_by: str
    weather: str = "faults"
    prefix: str = "MUTANT"

    @property
    def switches(self) -> tuple[str, ...]:
        """The switches that make a run of it."""
        profile, pairs, *others = WEATHERS[self.weather].switches_at(self.profile)
        del pairs  # three are enough for each of them
        return (f"-D{self.prefix}_{self.name.upper()}", profile, "-DPAIRS=3", *others)


ONE = "only_one_asks"
RECORDED = "what_came_is_recorded"
LOST = "nothing_is_lost"
HEALTHY = "no_living_grant_is_declared_dead"
REPEAT = "no_repeat_kills_what_lives"
GETS_ON = "gets_on"

# Named as in tests/mutants and tests/simulation/mutants.py, where they exist there.
MUTANTS = (
    Mutant("no_lock", "a beat claims what it saw a while ago, be it another's by now", "on_use", ONE),
    Mutant("no_claim_cas", "start takes whatever is active, whatever the claim number", "on_use", ONE),
    Mutant("no_lease_check", "nobody asks how old the attempt is before the first byte", "on_use", ONE),
    Mutant("stale_success_rejected", "the lease decides what is stored, too", "on_use", RECORDED),
    Mutant("no_cas_at_settle", "a token set is stored whatever the generation", "on_use", "it_is_the_newest"),
    Mutant("surplus_dropped", "a token set for a generation that is stored already is thrown away", "on_use", RECORDED),
    Mutant("presented_before_commit", "a new access token is used before anybody has kept it", "on_use", LOST),
    Mutant("not_journaled", "the answer lives in memory until the database has it", "immediate",
           "what_is_being_settled_is_durable"),
    Mutant("marked_too_early", "an entry is marked settled before the database has it", "immediate", HEALTHY),
    Mutant("drained_unread", "journals of dead processes are said to be drained without being read", "immediate",
           "what_is_drained_is_recorded"),
    Mutant("judged_without_generation", "a verdict falls whatever became of the grant meanwhile", "immediate", HEALTHY),
    Mutant("journals_not_awaited", "a verdict waits for no journal that may hold the answer", "immediate", HEALTHY),
    Mutant("doubt_forgotten", "a start forgets that the attempt before it was never ended", "family", REPEAT),
    Mutant("doubt_journal_forgotten", "a start forgets which journal may hold the answer", "family", REPEAT),
    Mutant("definite_503", 'an unknown outcome is taken for "nothing happened"', "family", HEALTHY),
    Mutant("family_repeats", "a spent token is tried at once, also where its reuse kills the family", "family", REPEAT),
    Mutant("no_witness", "two refusals are a death, whoever else succeeded", "on_use", HEALTHY, "refusals"),
    Mutant("one_refusal_is_death", "the first refusal is a death", "on_use", HEALTHY, "refusals"),
    Mutant("revocation_ignored_at_start", "start does not look whether the grant's end was asked for", "on_use",
           "nothing_is_begun_once_its_end_was_asked_for", "revocation"),
    Mutant("predecessor_forgotten", "the pair that was replaced is not kept, though it may live", "on_use",
           "nothing_is_dropped"),
    Mutant("unseen_pair_overlooked", "a revocation ends whatever has arrived since it looked", "on_use",
           "what_ended_is_dead", "revocation"),
    Mutant("a_late_set_frees_the_row", "a late token set ends the lease of the attempt under way", "on_use", ONE,
           "revocation"),
    Mutant("a_lost_claim_leaves_its_journal_in_the_doubt", "who got no token set lets others wait for its journal",
           "family", GETS_ON, "progress"),
    Mutant("judged_late", "a success begun after the refused attempt is a witness of the time before", "on_use",
           HEALTHY, "refusals"),
    Mutant("doubt_of_the_unsent", "an attempt that was held back begins a doubt as if its token had been sent",
           "grace", REPEAT),
    Mutant("ended_between_claim_and_start", "who ends between the next claim and its start is waited for as long as it "
           "lives", "family", GETS_ON, "progress"),
)  # fmt: skip

# Found by the model, and not excluded by the code yet: mended there, each becomes a mutant.
OPEN = (
    Mutant("replayed_late", "an answer that was stored, but not marked, is replayed when its token is spent: surplus",
           "family", REPEAT, "refusals", "OPEN"),
)  # fmt: skip
