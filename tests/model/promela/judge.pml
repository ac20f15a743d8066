/* The judge: what must hold, and when it is asked. Each name is what a violation is called. */

/* All living pairs that reached us and did not die with a process before they were fsynced. */
#define REACHED (alive & ~lost)

inline it_is_the_newest(q) {
    assert(q > pair); /* an older token set never replaces a newer one */
    assert(asked_of[q] >= generation)
}

inline no_living_grant_is_declared_dead() {
    assert(REACHED == 0);
    assert(withdrawn || doubt) /* what nobody withdrew was lost, and is told so */
}

/* Of what a commit has recorded all that lives is in its row or beside it; at GRACE an old pair needs nobody. */
inline nothing_is_dropped() {
#if PROFILE == GRACE
    assert((recorded & alive & ~HELD & ~in_grace) == 0)
#else
    assert((recorded & alive & ~HELD) == 0)
#endif
}

/* Where the old token lives until the new one is known to have come, nothing is ever lost. */
inline nothing_is_lost() {
#if LOSES_NOTHING
    assert(withdrawn || end_asked || REACHED != 0);
#endif
    skip
}

inline only_one_asks(n) {
    assert(!IN_FLIGHT(OTHER(n)))
}

#ifdef REVOCATION
inline what_ended_is_dead() {
    assert(!(status == REVOKED && !end_queued) || (recorded & alive) == 0);
    assert(!verified || REACHED == 0)
}
#endif

/* Before a spent token is sent again where that kills whatever lives. */
inline no_repeat_kills_what_lives(presented) {
#if KILLS_BY_REUSE
    assert(mad || LIVES(presented) || !(spent & BIT(presented))
        || (REACHED == 0 && (alive == 0 || !serves)));
#endif
    skip
}

inline nothing_is_begun_once_its_end_was_asked_for() {
    assert(!end_asked)
}

/* Between the act and our fsync nobody can save it; afterwards a kill costs nothing, unless a disk was full. */
inline what_is_being_settled_is_durable(n) {
    assert(w[n].in_journal || w[n].broken || (recorded & BIT(w[n].pair)))
}

/* A token set that reached a worker ends committed or as surplus. */
inline what_came_is_recorded(n) {
    assert(recorded & BIT(w[n].pair))
}

inline what_is_drained_is_recorded() {
    for (i : 1 .. PAIRS - 1) {
        assert(!IS_LEFT(i) || (recorded & BIT(i)))
    }
}
