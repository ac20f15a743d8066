/* Beat, whoever drains journals, the clocks, and what happens to all of them. */

proctype beat() FOLLOWS_THE_TRACE {
end:
    do
#ifdef MUTANT_NO_LOCK
    :: MAY_CLAIM -> /* looks */
        d_step { claim() } /* claims: what it saw may be another's by now */
#else
    :: d_step { MAY_CLAIM -> claim() } /* claims */
#endif
#ifdef REVOCATION
    :: d_step { MAY_CLAIM_REVOCATION -> /* claims a revocation */
        status = REVOKING;
        claim() }
#endif
    od
}

/* Whoever shares the disk of a process that is gone takes over its journal, entry by entry in order of generation. */
#define COMES_BEFORE(a, b) (IS_LEFT(a) && asked_of[a] < asked_of[b])
#if PAIRS == 3
#define IS_NEXT(q) (IS_LEFT(q) && !COMES_BEFORE(1, q) && !COMES_BEFORE(2, q))
#define IS_EMPTY (!IS_LEFT(1) && !IS_LEFT(2))
#elif PAIRS == 4
#define IS_NEXT(q) (IS_LEFT(q) && !COMES_BEFORE(1, q) && !COMES_BEFORE(2, q) && !COMES_BEFORE(3, q))
#define IS_EMPTY (!IS_LEFT(1) && !IS_LEFT(2) && !IS_LEFT(3))
#else
#define IS_NEXT(q) (IS_LEFT(q) && !COMES_BEFORE(1, q) && !COMES_BEFORE(2, q) && !COMES_BEFORE(3, q) \
    && !COMES_BEFORE(4, q))
#define IS_EMPTY (!IS_LEFT(1) && !IS_LEFT(2) && !IS_LEFT(3) && !IS_LEFT(4))
#endif

#define REPLAY(q) \
    :: d_step { IS_NEXT(q) -> \
        settle(q); \
        mark(q) } \
    :: d_step { IS_NEXT(q) && FAULT -> /* killed before it is marked */ \
        ONE_FAULT_LESS; \
        settle(q) }
#ifdef MUTANT_DRAINED_UNREAD
#define MAY_DRAIN left_behind
#else
#define MAY_DRAIN (left_behind && IS_EMPTY)
#endif

/* From now on no doubt waits for what processes left behind. */
inline drain() {
    what_is_drained_is_recorded();
    left_behind = false;
    doubt_journals = doubt_journals & ~BIT(LEFT);
    if
    :: started_by == LEFT -> started_by = NOBODY
    :: else -> skip
    fi;
    see(DRAINED, ANYBODY, NOBODY)
}

proctype drainer() FOLLOWS_THE_TRACE {
end:
    do
#ifndef MUTANT_DRAINED_UNREAD
    REPLAY(1) /* replays pair 1 */
    REPLAY(2) /* replays pair 2 */
#if PAIRS > 3
    REPLAY(3) /* replays pair 3 */
#endif
#if PAIRS > 4
    REPLAY(4) /* replays pair 4 */
#endif
#endif
    :: d_step { MAY_DRAIN -> drain() } /* drains what was left behind */
    od
}

/* A lease ends at any moment but while a request is under way that was begun in time: its deadline is inside of it.
   What was given up is carried out within the lease as well, or never. */
#define NO_REQUEST_UNDER_IT (!(IN_FLIGHT(0) && w[0].lease) && !(IN_FLIGHT(1) && w[1].lease))
#ifdef LIVE
/* Nothing lapses for want of a look: neither a claim that somebody may start nor an attempt of one who lives. */
#define NOBODY_MAY_START (claimed == LONG_AGO || (claimed == YES && status == ACTIVE && end_asked))
#define IS_ABANDONED (claimed == NO && started && !w[0].current && !w[1].current)
#define IS_IN_ORDER (NOBODY_HAS_IT || NOBODY_MAY_START || IS_ABANDONED)
#else
#define IS_IN_ORDER true
#endif

proctype lease_clock() FOLLOWS_THE_TRACE {
end:
    do
    :: d_step { lease && NO_REQUEST_UNDER_IT && IS_IN_ORDER -> /* ends the lease, or makes it due */
        lease = false;
        w[0].lease = false;
        w[1].lease = false;
        if
        :: NOBODY_HAS_IT -> skip
        :: else -> see(LAPSED, ANYBODY, NOBODY)
        fi }
#ifdef LIVE
    :: d_step { lease && NO_REQUEST_UNDER_IT && !IS_IN_ORDER && FAULT -> /* ends a lease that somebody had */
        ONE_FAULT_LESS;
        lease = false;
        w[0].lease = false;
        w[1].lease = false }
#endif
    od
}

proctype access_clock() FOLLOWS_THE_TRACE {
end:
    do
#if KILLS_BY_REUSE
    :: d_step { serves -> /* ends the access token */
        serves = false;
        w[0].serves = false;
        w[1].serves = false }
#endif
    :: false -> skip
    od
}

#if PROFILE == GRACE
#define OF_FRESH_DOUBT(n) ((w[n].at == BEGUN || w[n].at == SENT) && w[n].doubt && w[n].doubt_age == 0)
#define REPEATS(n) (IN_FLIGHT(n) && w[n].doubt && w[n].doubt_age == 0)
/* The grace of a token begins after the attempt or the doubt in whose time it was spent. */
#define GRACE_MAY_END \
    (!OF_FRESH_DOUBT(0) && !OF_FRESH_DOUBT(1) \
     && (!doubt || (started && started_late) || doubt_age > 0) \
     && (!started || (doubt && !started_late) || started_age > 0))
#define LEASE_IS_OVER (!(w[0].current && w[0].lease) && !(w[1].current && w[1].lease) && (claimed != NO || !lease))

#define END_OF_GRACE(t) \
    :: d_step { (in_grace & BIT(t)) && GRACE_MAY_END -> \
        in_grace = in_grace & ~BIT(t); \
        alive = alive & ~BIT(t) }

proctype grace_clock() FOLLOWS_THE_TRACE {
end:
    do
    END_OF_GRACE(0) /* ends the grace of pair 0 */
    END_OF_GRACE(1) /* ends the grace of pair 1 */
    END_OF_GRACE(2) /* ends the grace of pair 2 */
#if PAIRS > 3
    END_OF_GRACE(3) /* ends the grace of pair 3 */
#endif
#if PAIRS > 4
    END_OF_GRACE(4) /* ends the grace of pair 4 */
#endif
    :: d_step { started && started_age == 0 && LEASE_IS_OVER && (!doubt || doubt_age > 0) -> /* the attempt, too */
        started_age = 1 }
    :: d_step { started && started_age == 1 && in_grace == 0 && (!doubt || doubt_age == 2) -> /* and than twice */
        started_age = 2 }
    :: d_step { doubt && doubt_age == 0 && !REPEATS(0) && !REPEATS(1) -> /* the doubt is older than the grace */
        doubt_age = 1;
        for (i : 0 .. WORKERS - 1) {
            if
            :: w[i].doubt && w[i].doubt_age == 0 -> w[i].doubt_age = 1
            :: else -> skip
            fi
        }
        skip }
    :: d_step { doubt && doubt_age == 1 && in_grace == 0 -> /* and than twice the grace */
        doubt_age = 2;
        for (i : 0 .. WORKERS - 1) {
            if
            :: w[i].doubt -> w[i].doubt_age = 2
            :: else -> skip
            fi
        }
        skip }
    :: d_step { w[0].at == BEGUN && w[0].doubt && w[0].doubt_age == 0 && !doubt -> /* worker 0's as well */
        w[0].doubt_age = 1 }
    :: d_step { w[1].at == BEGUN && w[1].doubt && w[1].doubt_age == 0 && !doubt -> /* worker 1's as well */
        w[1].doubt_age = 1 }
    od
}
#endif

#define PRESENTED(q) \
    :: d_step { (handed & BIT(q)) && LIVES(parent[q]) -> \
        present(q); \
        nothing_is_lost() }

proctype world() FOLLOWS_THE_TRACE {
end:
    do
#ifdef REFUSALS
    /* for a while the provider refuses everybody in its word for dead, and others succeed before and after */
    :: d_step { !was_mad && FAULT -> /* the provider refuses everybody from now on */
        ONE_FAULT_LESS;
        mad = true;
        was_mad = true }
    :: d_step { mad -> mad = false } /* the provider is itself again */
#endif
    :: d_step { refusals > 0 && !witnessed && !mad -> witnessed = true } /* another grant is refreshed */
#ifdef WITHDRAWAL
    :: d_step { !withdrawn && FAULT -> /* the user withdraws */
        ONE_FAULT_LESS;
        withdrawn = true;
        all_end() }
#endif
    /* applications use what they were handed */
#if PROFILE == ON_USE
    PRESENTED(1) /* the access token of pair 1 is used */
    PRESENTED(2) /* the access token of pair 2 is used */
#if PAIRS > 3
    PRESENTED(3) /* the access token of pair 3 is used */
#endif
#if PAIRS > 4
    PRESENTED(4) /* the access token of pair 4 is used */
#endif
#endif
#ifdef REVOCATION
    :: d_step { !end_asked -> /* its end is asked for */
        end_asked = true;
        end_queued = true;
        see(END_ASKED, ANYBODY, NOBODY) }
#endif
    od
}
