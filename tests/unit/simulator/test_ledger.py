"""The ledger judges: what is lost and why, what is alive, and what long simulations may forget."""

from simulator.call import Call
from simulator.client import Client
from simulator.habits import habits_for
from simulator.http import views
from simulator.provider import SimulatedProvider
from tests.unit.simulator.desk import CREDENTIALS, Desk


def test_a_chain_tells_parent_request_and_why_each_pair_ended() -> None:
    desk = Desk("on_use")
    fresh = desk.refresh(desk.mint())
    desk.use(fresh)
    first, second = views.grant_view(desk.grant(), desk.now)["pairs"]
    assert (first["parent"], second["parent"]) == (None, first["pair"])
    assert (first["spent"], second["request"]) == (1, 1)
    assert first["refresh_why"] == "its successor, pair 2, was used by request 2"
    assert (first["refresh_alive"], second["refresh_alive"]) == (False, True)


def test_a_request_tells_what_it_consumed_and_what_it_issued() -> None:
    desk = Desk("immediate")
    desk.refresh(desk.mint())
    (request,) = desk.provider.traffic.requests
    told = views.request_view(request)
    assert (told["outcome"], told["consumed"], told["issued"], told["ref"]) == ("refreshed", 1, 2, "customer-1")


def test_a_pair_that_seemed_lost_is_found_again_when_its_token_is_sent() -> None:
    desk = Desk("immediate")
    desk.lose_refresh(desk.mint())
    assert len(desk.lost()) == 1
    pair = desk.grant().pairs[2]
    desk.token(grant_type="refresh_token", refresh_token=pair.refresh_token, scope="never_granted")
    assert desk.lost() == []


def test_the_summary_counts_what_is_alive_lost_revoked_and_revoked_but_alive() -> None:
    desk = Desk("immediate")
    desk.mint("alive")
    desk.lose_refresh(desk.mint("lost"))
    desk.revoke(desk.mint("revoked").refresh)
    half = desk.mint("half")
    desk.pass_time(7201)
    desk.revoke(half.refresh)
    facts = views.summary(desk.provider, desk.now)
    assert facts["grants"] == {"total": 4, "alive": 1, "lost": 1, "revoked": 2, "revoked_but_alive": 1}
    (lost,) = facts["lost"]
    assert (lost["ref"], lost["request"]) == ("lost", 1)


def test_the_judge_says_what_is_alive_of_the_token_held_for_a_ref() -> None:
    desk = Desk("immediate")
    old = desk.mint()
    fresh = desk.refresh(old)
    held = {"customer-1": fresh.access, "stale": old.access, "stranger": "unknown"}
    verdicts = views.judge(desk.provider, held, desk.now)
    assert verdicts["customer-1"] == {
        "known": True,
        "alive": True,
        "refresh_alive": True,
        "same_ref": True,
        "pair": 2,
        "newest": True,
    }
    assert (verdicts["stale"]["alive"], verdicts["stale"]["newest"]) == (False, False)
    assert verdicts["stranger"]["known"] is False


def test_the_judge_knows_that_at_none_every_pair_shares_the_first_refresh_token() -> None:
    desk = Desk("none")
    fresh = desk.refresh(desk.mint())
    assert views.judge(desk.provider, {"r": fresh.access}, desk.now)["r"]["refresh_alive"] is True


def test_a_compacting_ledger_forgets_pairs_long_dead_and_keeps_their_count() -> None:
    for profile in ("none", "on_use", "grace:5", "immediate", "family"):
        provider = SimulatedProvider(habits_for(profile), lifetime_seconds=10, compact_after=60)
        provider.register(Client("acme", "acme-secret"))
        pair = provider.mint("acme", "customer-1", now=0)
        token = pair.refresh_token
        for turn in range(1, 201):
            call = Call("token", {**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": token})
            answer, _ = provider.handle(call, turn * 5.0)
            token = answer.body.get("refresh_token", token)
            provider.handle(Call("api", {}, bearer=answer.body["access_token"], org="org-1"), turn * 5.0)
        grant = pair.grant
        assert grant.forgotten + len(grant.pairs) == 201, profile
        assert len(grant.pairs) < 40, profile
        assert len(provider.ledger.by_access_token) == len(grant.pairs), profile
        assert grant.alive(1000.0), profile


def test_a_pair_that_was_used_lets_go_of_its_predecessor_so_that_memory_can_be_freed() -> None:
    desk = Desk("on_use")
    fresh = desk.refresh(desk.mint())
    assert desk.pair(fresh).previous is not None
    desk.use(fresh)
    assert desk.pair(fresh).previous is None


def test_without_compacting_nothing_is_forgotten() -> None:
    desk = Desk("immediate")
    tokens = desk.mint()
    for _ in range(50):
        desk.pass_time(10_000)
        tokens = desk.refresh(tokens)
    assert len(desk.grant().pairs) == 51
