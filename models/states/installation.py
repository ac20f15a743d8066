"""Of an installation: whether anything may be claimed and sent in its database."""

from models.states.word import Word


class DatabaseState(Word):
    """What the SQL function `database_state` says."""

    FIT = "fit", "it is the database that was adopted, and has all its commits"
    REWOUND = "rewound", "commits may be missing: nothing is sent until every journal was replayed"
    COPIED = "copied", "another cluster, database, data folder or environment was adopted: nothing is sent"
    STANDBY = "standby", "it is a replica: nothing is written"
    NOT_ADOPTED = "not_adopted", "nobody has adopted it yet: `evergrant db upgrade` does"
