/* One grant of Evergrant: its row, the workers that refresh it, and the provider. Read docs/explanation/model.md first.

   -DPROFILE=NONE | ON_USE | UNTIL_NEXT_REFRESH | GRACE | IMMEDIATE | FAMILY   what a refresh does to the old token
   -DREVOCATION    somebody asks for the grant's end, at any moment
   -DREFUSALS      for a while, once, the provider refuses everybody in its word for dead
   -DWITHDRAWAL    the user withdraws, at any moment
   -DLIVE          few faults, and a formula: the grant gets on
   -DMUTANT_...    one wrong design; see the places that ask for it
   -DOPEN_...      one order of events that the code does not exclude yet
   -DONE_TOKEN     at `none`: answers name no refresh token, so whatever comes late holds nothing
   -DTRACE         follow what a run of the code was seen to do: trace.pml

   Time is no number here: a lease ends, a token lapses, a process freezes or dies whenever that is possible.
   A claim number is compared for equality only, so it is no number either: `mine` says whether it is still one's own.
*/
#define NONE 0
#define ON_USE 1
#define UNTIL_NEXT_REFRESH 2
#define GRACE 3
#define IMMEDIATE 4
#define FAMILY 5

#ifndef PROFILE
#define PROFILE ON_USE
#endif
#ifndef PAIRS
#define PAIRS 3 /* pair 0 is the consent's; PAIRS - 1 refreshes are carried out, then the provider is away */
#endif
#define WORKERS 2
#define LEFT 2   /* the journals of processes that are gone; 0 and 1 are those of the workers */
#define NOBODY 7 /* no pair, no journal */

#define BIT(n) (1 << (n))
#define KILLS_BY_REUSE (PROFILE == FAMILY || PROFILE == GRACE)
#define KEEPS_PREDECESSORS (PROFILE == NONE || PROFILE == ON_USE || PROFILE == UNTIL_NEXT_REFRESH)
#define LOSES_NOTHING KEEPS_PREDECESSORS

#ifdef LIVE
#ifndef FAULTS
#define FAULTS 3
#endif
byte faults = FAULTS; /* how many more may happen */
#define FAULT (faults > 0)
#define ONE_FAULT_LESS faults--
#else
#define FAULT true
#define ONE_FAULT_LESS skip
#endif

hidden byte i; /* scratch: inside one step only */
hidden byte p;
hidden byte sent;

#include "provider.pml"
#include "row.pml"
#include "trace.pml"
#include "process.pml"
#include "statements.pml"
#include "settling.pml"
#include "judge.pml"
#include "worker.pml"
#include "world.pml"

init {
    atomic {
        begin_a_trace();
        run worker(0);
        run worker(1);
        run beat();
#ifdef MUTANT_NO_LOCK
        run beat();
#endif
        run drainer();
        run lease_clock();
        run access_clock();
        run world();
#if PROFILE == GRACE
        run grace_clock();
#endif
    }
}

#ifdef LIVE
/* It is refreshed as often as the provider carries out, or a human was told; or its end, once asked for, is written. */
#ifdef REVOCATION
#define GETS_ON (status == REVOKED)
#else
#define GETS_ON (issued == PAIRS || status == NEEDS_CONSENT)
#endif
ltl gets_on { <> GETS_ON }
#endif
