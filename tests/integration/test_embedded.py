"""The embedded engines, really started."""


import psycopg

import settings


def test_each_test_has_a_new_database_with_the_tables(adopted: settings.Settings, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT to_regclass('evergrant.grants') IS NOT NULL").fetchone()
    assert row == (True,)
