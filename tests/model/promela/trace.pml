/* The observer of a trace: what a run of the code was seen to do is the only thing that the model may be seen to do.

   -DTRACE   each step that shows calls `see`; where that is not the next event of the trace this way is given up.
             Clocks, network, provider and applications do not show, so they stay free.

   The traces come in at run time, all of them in one search: trace.c reads them, and tells how far each could go. */
#ifdef TRACE
short the_trace;      /* which of them is followed */
byte place;           /* how many of its events were seen */
bool on_trace = true;
byte claim_no;        /* since the trace begins; here it is a number */
byte claim_of[WORKERS];

hidden byte seen;     /* an event, whose, and of which pair: for trace.c */
hidden byte seen_by;
hidden byte seen_pair;

#define CLAIMED 1
#define STARTED 2
#define SENDS 3
#define RELEASED 4    /* ended, and nothing was sent */
#define JOURNALED 5
#define NOT_JOURNALED 6
#define STORED 7
#define SURPLUS 8
#define MARKED 9
#define ENDED 10      /* without a token set */
#define KILLED 11
#define DRAINED 12
#define LAPSED 13
#define END_ASKED 14
#define ANYBODY 7

c_code { \#include "trace.c" }

#define FOLLOWS_THE_TRACE provided (on_trace && c_expr { furthest[now.the_trace] < lengths[now.the_trace] })

inline see(what, who, which) {
    seen = what;
    seen_by = who;
    seen_pair = which;
    c_code { compare(); }
}

inline one_claim_no_more() {
    claim_no++
}

inline note_claim_no(n) {
    claim_of[n] = claim_no
}

/* One trace after the other is begun, each in the state in which its first event found the grant. */
inline begin_a_trace() {
    c_code { read_traces(); };
    do
    :: c_expr { now.the_trace + 1 < traces } -> the_trace++
    :: break
    od;
    former = 0;
    p = 0;
    c_code { begin(); };
    do
    :: p > 0 ->
        p--;
        former = former | BIT(p);
        alive = alive | BIT(p);
        parent[p + 1] = p;
        asked_of[p + 1] = p
    :: else -> break
    od
}
#else
#define FOLLOWS_THE_TRACE
#define see(what, who, which) skip
#define one_claim_no_more() skip
#define note_claim_no(n) skip
#define begin_a_trace() skip
#endif
