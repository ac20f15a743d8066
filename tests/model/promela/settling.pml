/* Settle by the generation: tasks/settling/decide.py and models/token_set.py. Inside a step each. */

#ifdef MUTANT_NO_CAS_AT_SETTLE
#define IS_STORED(q) true
#elif defined(ONE_TOKEN)
#define IS_STORED(q) (generation <= asked_of[q])
#else
#define IS_STORED(q) (generation < asked_of[q] || (generation == asked_of[q] && (HELD & BIT(parent[q]))))
#endif

/* A token set, be it just come or from a journal. */
inline settle(q) {
    if
    :: IS_STORED(q) ->
        store(q);
        reopen();
        see(STORED, ANYBODY, q)
    :: else ->
        if
        :: HELD & BIT(q) -> skip /* it is there */
#ifdef ONE_TOKEN
        :: else -> recorded = recorded | BIT(q) /* its refresh token is the row's */
#else
#if KILLS_BY_REUSE && !defined(OPEN_REPLAYED_LATE)
        :: !(HELD & BIT(q)) && (recorded & BIT(q)) && generation > asked_of[q] + 1 -> skip
#endif
        :: else ->
#ifndef MUTANT_SURPLUS_DROPPED
            former = former | BIT(q);
            recorded = recorded | BIT(q);
#endif
            reopen();
            see(SURPLUS, ANYBODY, q)
#endif
        fi
    fi;
    nothing_is_dropped()
}

inline store(q) {
    it_is_the_newest(q);
    keep_former(q);
    generation = asked_of[q] + 1;
    pair = q;
    recorded = recorded | BIT(q);
    if
    :: status == NEEDS_CONSENT -> status = ACTIVE
    :: else -> skip
    fi;
    leave_to_whoever_is_under_way(q);
    next_claim_no();
    attempt_is_over();
#ifdef REVOCATION
    ever_in_doubt = ever_in_doubt || doubt;
#endif
    doubt = false;
    doubt_journals = 0;
    refusals = 0;
    witnessed = false;
#if PROFILE == GRACE
    doubt_age = 0;
#endif
#if KILLS_BY_REUSE
    serves = true;
#endif
#if PROFILE == ON_USE
    if
    :: status == ACTIVE && !end_asked -> handed = handed | BIT(q)
    :: else -> skip
    fi;
#endif
    skip
}

/* Where another attempt is under way the row stays as if claimed until that lease ends. */
inline leave_to_whoever_is_under_way(q) {
    if
#ifndef MUTANT_A_LATE_SET_FREES_THE_ROW
    :: started && lease && answer_of != q -> claimed = LONG_AGO
#endif
    :: else ->
        claimed = NO;
        lease = true
    fi
}

/* What becomes of the pair that the row holds, and of the one that was presented. */
inline keep_former(q) {
#if PROFILE == UNTIL_NEXT_REFRESH
    if
    :: generation == asked_of[q] && parent[q] == pair && pair > 0 -> former = former & ~BIT(parent[pair])
    :: else -> skip
    fi;
#endif
#if !KEEPS_PREDECESSORS
    if
    :: former & BIT(parent[q]) -> tried = tried | BIT(parent[q]) /* it has died by this */
    :: else -> skip
    fi;
#endif
    if
#if !defined(MUTANT_PREDECESSOR_FORGOTTEN) && !defined(ONE_TOKEN)
    :: KEEPS_PREDECESSORS || (parent[q] != pair && generation == asked_of[q]) -> former = former | BIT(pair)
#endif
    :: else -> skip
    fi;
    former = former & ~BIT(q)
}

/* It arrived though its end was asked for. */
inline reopen() {
#ifdef REVOCATION
    if
    :: status >= REVOKING ->
        status = REVOKING;
        end_queued = true;
        verified = false
    :: else -> skip
    fi;
#endif
    skip
}
