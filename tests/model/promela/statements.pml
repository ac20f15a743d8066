/* Claim, start, release, end: what models/claim.py, attempt.py and ended_attempt.py say in SQL. Inside a step each. */

#define MAY_CLAIM (status == ACTIVE && !lease && !end_asked)
#define MAY_CLAIM_REVOCATION (end_queued && (!lease || NOBODY_HAS_IT))

inline claim() {
    claimed = YES;
    lease = true;
    next_claim_no();
    see(CLAIMED, ANYBODY, NOBODY)
}

/* A message may come 0 to N times, late, out of order, or be forged: any of another number is dropped by start, and
   the one of the row's number can be had as soon as it is claimed. So there is no broker in here. */
#ifdef MUTANT_NO_CLAIM_CAS
#define MAY_START (status == ACTIVE && !end_asked)
#elif defined(MUTANT_REVOCATION_IGNORED_AT_START)
#define MAY_START (status == ACTIVE && claimed == YES && lease)
#else
#define MAY_START (status == ACTIVE && !end_asked && claimed == YES && lease)
#endif
#define MAY_START_REVOCATION (status == REVOKING && claimed == YES && lease)

#define PRESENTS_FORMER (refusals >= (KILLS_BY_REUSE -> SECOND_REFUSAL : 1))
#define UNTRIED (former & ~tried)

inline start(n) {
    note_doubt();
    started = true;
    started_by = n;
    answer_of = NOBODY;
    claimed = NO;
    lease = true;
    next_claim_no();
    nobody_is_current();
    w[n].at = BEGUN;
    w[n].mine = true;
    w[n].current = true;
    w[n].lease = true;
    w[n].generation = generation;
    w[n].token = pair;
    w[n].witnessed = witnessed;
#if KILLS_BY_REUSE
    w[n].doubt = doubt;
    w[n].undrained = (doubt_journals != 0);
    w[n].serves = serves;
#endif
#if PROFILE == GRACE
    started_late = (doubt && doubt_age == 2);
    started_age = 0;
    w[n].doubt_age = (doubt -> doubt_age : 0);
#endif
    if
    :: status == ACTIVE && PRESENTS_FORMER && UNTRIED != 0 ->
        w[n].of_former = true;
        for (i : 0 .. PAIRS - 1) {
            if
            :: UNTRIED & BIT(i) -> w[n].token = i /* the newest is the last */
            :: else -> skip
            fi
        }
    :: else -> skip
    fi;
    note_claim_no(n);
    see(STARTED, n, NOBODY)
}

#ifdef MUTANT_DOUBT_OF_THE_UNSENT
#define MAY_HAVE_BEEN_SENT true
#else
#define MAY_HAVE_BEEN_SENT (!serves)
#endif

/* An attempt that nobody ended is noted as doubt, with the journal that may hold its answer. */
inline note_doubt() {
#ifdef MUTANT_DOUBT_FORGOTTEN
    doubt = false;
    doubt_journals = 0
#else
    if
    :: started ->
#if PROFILE == GRACE
        if
        :: !doubt || (started_late && doubt_journals == 0 && MAY_HAVE_BEEN_SENT) -> doubt_age = started_age
        :: else -> skip
        fi;
#endif
        doubt = true;
#ifndef MUTANT_DOUBT_JOURNAL_FORGOTTEN
        if
        :: started_by != NOBODY -> doubt_journals = doubt_journals | BIT(started_by)
        :: else -> skip
        fi;
#endif
        skip
    :: else -> skip
    fi
#endif
}

inline attempt_is_over() {
    started = false;
    started_by = NOBODY;
    answer_of = NOBODY;
    nobody_is_current();
#if PROFILE == GRACE
    started_age = 0;
    started_late = false;
#endif
    skip
}

/* Nothing was sent: the row is due again in a while. */
inline release(n) {
    if
    :: w[n].mine ->
        attempt_is_over();
        lease = true;
        see(RELEASED, n, NOBODY)
    :: else -> skip
    fi;
    not_in_journal(n)
}

/* We got no token set, so nobody needs to wait for our journal. */
inline not_in_journal(n) {
#ifndef MUTANT_A_LOST_CLAIM_LEAVES_ITS_JOURNAL_IN_THE_DOUBT
    if
#ifdef MUTANT_ENDED_BETWEEN_CLAIM_AND_START
    :: started && started_by == n -> skip
#else
    :: started && started_by == n && w[n].current -> started_by = NOBODY /* claimed anew, and not started */
    :: started && started_by == n && !w[n].current -> skip
#endif
    :: else -> doubt_journals = doubt_journals & ~BIT(n)
    fi;
#endif
    skip
}

#ifdef MUTANT_JUDGED_WITHOUT_GENERATION
#define MAY_END(n) true
#define MAY_JUDGE(n) (status == ACTIVE)
#else
#define MAY_END(n) (w[n].mine && started)
#define MAY_JUDGE(n) (generation == w[n].generation && status == ACTIVE)
#endif

/* The attempt brought no token set. */
inline end_attempt(n, is_unknown, is_refused) {
    if
    :: MAY_END(n) ->
        if
        :: is_unknown ->
#if PROFILE == GRACE
            if
            :: !doubt || started_late -> doubt_age = started_age
            :: else -> skip
            fi;
#endif
            doubt = true
        :: else -> skip
        fi;
        attempt_is_over();
        if
        :: MAY_JUDGE(n) ->
            lease = true;
            if
            :: is_refused -> judge(n)
            :: else -> skip
            fi
        :: else -> skip
        fi;
        see(ENDED, n, NOBODY)
    :: else -> skip
    fi;
    not_in_journal(n)
}

#ifdef MUTANT_ONE_REFUSAL_IS_DEATH
#define IS_AGAIN true
#else
#define IS_AGAIN (refusals > 0)
#endif
#if defined(MUTANT_NO_WITNESS) || defined(MUTANT_ONE_REFUSAL_IS_DEATH)
#define HAS_A_WITNESS(n) true
#elif defined(MUTANT_JUDGED_LATE)
#define HAS_A_WITNESS(n) witnessed
#else
#define HAS_A_WITNESS(n) (w[n].witnessed)
#endif
#ifdef MUTANT_JOURNALS_NOT_AWAITED
#define JOURNALS_ARE_DRAINED true
#else
#define JOURNALS_ARE_DRAINED (!doubt || doubt_journals == 0)
#endif
#define FORMER_TOKENS_WERE_TRIED (UNTRIED == 0)

inline judge(n) {
    if
    :: w[n].of_former -> tried = tried | BIT(w[n].token)
    :: else ->
        if
        :: IS_AGAIN && JOURNALS_ARE_DRAINED && FORMER_TOKENS_WERE_TRIED && HAS_A_WITNESS(n) ->
            status = NEEDS_CONSENT;
            no_living_grant_is_declared_dead()
        :: else ->
            if
            :: refusals == 0 -> witnessed = false
            :: else -> skip
            fi;
            if
            :: refusals < SECOND_REFUSAL -> refusals++
            :: else -> skip
            fi
        fi
    fi
}

#ifdef REVOCATION
#ifdef MUTANT_UNSEEN_PAIR_OVERLOOKED
#define EVERY_PAIR_WAS_SEEN(n) true
#else
#define EVERY_PAIR_WAS_SEEN(n) ((HELD & ~w[n].branches) == 0)
#endif

/* A revocation that is done, or must be done again. */
inline end_revocation(n) {
    if
    :: w[n].mine && EVERY_PAIR_WAS_SEEN(n) && w[n].to_kill == 0 ->
        status = REVOKED;
        end_queued = false;
        verified = !(ever_in_doubt || doubt);
        next_claim_no();
        attempt_is_over();
        see(ENDED, n, NOBODY)
    :: w[n].mine && !(EVERY_PAIR_WAS_SEEN(n) && w[n].to_kill == 0) ->
        attempt_is_over();
        see(ENDED, n, NOBODY)
    :: else -> skip
    fi;
    not_in_journal(n)
}
#endif
