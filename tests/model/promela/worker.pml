/* A worker: start, guard, ask, journal, settle, mark; killed or frozen at any of them. */

#if PROFILE == FAMILY && !defined(MUTANT_FAMILY_REPEATS)
#define PROFILE_ALLOWS(n) (!w[n].doubt || (!w[n].serves && !w[n].undrained))
#elif PROFILE == GRACE && !defined(MUTANT_FAMILY_REPEATS)
#define PROFILE_ALLOWS(n) \
    (!w[n].doubt || w[n].doubt_age == 0 || (w[n].doubt_age == 2 && !w[n].serves && !w[n].undrained))
#else
#define PROFILE_ALLOWS(n) true
#endif
#ifdef MUTANT_NO_LEASE_CHECK
#define LEASE_SUFFICES(n) true
#else
#define LEASE_SUFFICES(n) (w[n].lease)
#endif
#define GUARD(n) (LEASE_SUFFICES(n) && PROFILE_ALLOWS(n))
#define PROVIDER_ANSWERS(n) (mad || !LIVES(w[n].token) || issued < PAIRS)

#ifdef MUTANT_DEFINITE_503
#define IS_UNKNOWN false
#else
#define IS_UNKNOWN true
#endif

/* Two processes that have nothing to do are one as good as the other, unless one's journal is in the doubt. */
#ifdef TRACE
#define IS_NEXT_TO_START(n) true /* a trace says which */
#else
#define IS_NEXT_TO_START(n) (n == 0 || w[0].at != IDLE || (doubt_journals & 3) || started_by < LEFT)
#endif

/* A token set is in memory: what it was asked with stands beside it. */
inline has_come(n) {
    has_ended(n, ANSWERED);
    w[n].pair = p;
    if
    :: w[n].current -> answer_of = p
    :: else -> skip
    fi;
    w[n].generation = 0;
    w[n].token = 0;
    w[n].of_former = false;
    w[n].witnessed = false;
#ifndef MUTANT_STALE_SUCCESS_REJECTED
    w[n].mine = false;
#endif
#ifndef LIVE
    w[n].current = false;
#endif
    skip
}

/* The entry says that it is settled. */
inline mark(q) {
    journaled = journaled & ~BIT(q);
    journal_of[q] = 0
}

/* kill -9: its journal is left behind, and a new process takes a new one. */
inline die(n) {
    if
    :: w[n].at == ANSWERED -> lose(w[n].pair)
    :: w[n].at == KEPT ->
        what_is_being_settled_is_durable(n);
        if
        :: !w[n].in_journal && !(recorded & BIT(w[n].pair)) -> lose(w[n].pair)
        :: else -> skip
        fi
    :: else -> skip
    fi;
    left_behind = true;
    for (i : 1 .. PAIRS - 1) {
        if
        :: (journaled & BIT(i)) && journal_of[i] == n -> journal_of[i] = LEFT
        :: else -> skip
        fi
    }
    if
    :: doubt_journals & BIT(n) -> doubt_journals = (doubt_journals & ~BIT(n)) | BIT(LEFT)
    :: else -> skip
    fi;
    if
    :: started_by == n -> started_by = LEFT
    :: else -> skip
    fi;
    forget(n);
    nothing_is_lost()
}

inline settle_live(n) {
    if
#ifdef MUTANT_STALE_SUCCESS_REJECTED
    :: !w[n].mine -> skip /* whoever lost the claim may not store */
#endif
    :: else -> settle(w[n].pair)
    fi
}

/* A wrong design: the access token is tried out before anybody has kept it. */
inline present_too_early() {
#ifdef MUTANT_PRESENTED_BEFORE_COMMIT
    if
    :: p != NOBODY -> present(p)
    :: else -> skip
    fi;
#endif
    skip
}

proctype worker(byte n) FOLLOWS_THE_TRACE {
end:
    do
    /* start: compare and swap on the claim number */
    :: d_step { w[n].at == IDLE && MAY_START && IS_NEXT_TO_START(n) -> /* starts */
        nothing_is_begun_once_its_end_was_asked_for();
        start(n) }
#ifdef REVOCATION
    :: d_step { w[n].at == IDLE && MAY_START_REVOCATION && IS_NEXT_TO_START(n) -> /* starts a revocation */
        start(n);
        w[n].at = KILLING;
        w[n].branches = HELD;
        w[n].to_kill = HELD }
#endif

    /* guard, and the first byte */
    :: d_step { w[n].at == BEGUN && GUARD(n) -> /* sends */
        only_one_asks(n);
        w[n].at = SENT;
        see(SENDS, n, NOBODY) }
    :: d_step { w[n].at == BEGUN && !GUARD(n) -> /* is held back, and releases */
        release(n);
        forget(n) }
    :: d_step { w[n].at == BEGUN && FAULT -> /* releases: a shut valve, no connection, the end of its process */
        ONE_FAULT_LESS;
        release(n);
        forget(n) }

    /* ask */
    :: d_step { w[n].at == SENT && PROVIDER_ANSWERS(n) -> /* is answered */
        no_repeat_kills_what_lives(w[n].token);
        carry_out(w[n].token, w[n].generation);
        if
        :: p == NOBODY -> has_ended(n, REFUSED)
        :: else ->
            has_come(n)
        fi;
        present_too_early();
        nothing_is_lost() }
    :: d_step { w[n].at == SENT && PROVIDER_ANSWERS(n) && FAULT -> /* is carried out, and its answer is lost */
        ONE_FAULT_LESS;
        no_repeat_kills_what_lives(w[n].token);
        carry_out(w[n].token, w[n].generation);
        if
        :: p != NOBODY -> lose(p)
        :: else -> skip
        fi;
        has_ended(n, UNKNOWN);
        nothing_is_lost() }
    :: d_step { w[n].at == SENT && FAULT -> /* is never carried out, and cannot know */
        ONE_FAULT_LESS;
        has_ended(n, UNKNOWN) }
    :: d_step { w[n].at == SENT && FAULT -> /* is turned away: too many requests, or a word that nobody knows */
        ONE_FAULT_LESS;
        has_ended(n, TURNED_AWAY) }
#ifdef LIVE
    :: d_step { w[n].at == SENT && !PROVIDER_ANSWERS(n) -> /* finds nobody: the provider is away from now on */
        has_ended(n, UNKNOWN) }
#endif

    /* journal, before anybody reads it */
#if defined(MUTANT_NOT_JOURNALED)
    :: d_step { w[n].at == ANSWERED -> w[n].at = KEPT } /* does not journal */
#else
    :: d_step { w[n].at == ANSWERED -> /* journals */
        journaled = journaled | BIT(w[n].pair);
        journal_of[w[n].pair] = n;
        w[n].in_journal = true;
#ifdef MUTANT_MARKED_TOO_EARLY
        mark(w[n].pair);
#endif
        w[n].at = KEPT;
        see(JOURNALED, n, w[n].pair) }
    :: d_step { w[n].at == ANSWERED && FAULT -> /* cannot journal: the disk is full */
        ONE_FAULT_LESS;
        w[n].broken = true;
        w[n].at = KEPT;
        see(NOT_JOURNALED, n, w[n].pair) }
#endif

    /* settle: whatever the claim number says */
    :: d_step { w[n].at == KEPT -> /* settles a token set */
        settle_live(n);
        w[n].at = SETTLED }
    :: d_step { w[n].at == SETTLED && FAULT -> /* settles once more: COMMIT was answered by a reset */
        ONE_FAULT_LESS;
        settle_live(n) }
    :: d_step { w[n].at == SETTLED -> /* marks it */
        mark(w[n].pair);
        what_came_is_recorded(n);
        if
        :: w[n].in_journal -> see(MARKED, n, w[n].pair)
        :: else -> skip
        fi;
        forget(n) }

    /* no token set */
    :: d_step { w[n].at == REFUSED -> /* settles a refusal */
        end_attempt(n, false, true);
        forget(n) }
    :: d_step { w[n].at == UNKNOWN -> /* settles an unknown outcome */
        end_attempt(n, IS_UNKNOWN, false);
        forget(n) }
    :: d_step { w[n].at == TURNED_AWAY -> /* settles that nothing has happened */
        end_attempt(n, false, false);
        forget(n) }

#ifdef REVOCATION
    /* revoke, branch by branch, under the same lease */
    :: d_step { w[n].at == KILLING && w[n].to_kill != 0 && LEASE_SUFFICES(n) -> /* revokes a pair */
        only_one_asks(n);
        p = 0;
        do
        :: !(w[n].to_kill & BIT(p)) -> p++
        :: else -> break
        od;
        revoke_at_provider(p);
        w[n].to_kill = w[n].to_kill & ~BIT(p) }
    :: d_step { w[n].at == KILLING && (w[n].to_kill == 0 || !LEASE_SUFFICES(n)) -> /* ends its revocation */
        end_revocation(n);
        what_ended_is_dead();
        forget(n) }
    :: d_step { w[n].at == KILLING && FAULT -> /* is not heard, and ends it: it will be done again */
        ONE_FAULT_LESS;
        end_revocation(n);
        what_ended_is_dead();
        forget(n) }
#endif

    /* kill -9, and a new process with a journal of its own */
    :: d_step { w[n].at != IDLE && FAULT -> /* is killed */
        ONE_FAULT_LESS;
        die(n);
        see(KILLED, n, NOBODY) }
#ifdef TRACE
    :: d_step { w[n].at == IDLE -> /* is killed, and its journal holds nothing of this grant */
        left_behind = true;
        see(KILLED, n, NOBODY) }
#endif
    od
}
