"""What PostgreSQL would do for a statement: which indexes serve, and what is read as a whole."""

import re
from typing import Any

import psycopg

from bench.stage import Stage


def scans(here: Stage, statement: str, values: dict[str, Any]) -> list[str]:
    """The scans of a plan; the statement may name its values as SQLAlchemy does, or as psycopg does."""
    text = re.sub(r"(?<!:):at\b", "clock_timestamp()", statement)
    text = re.sub(r"(?<!:):lease\b", "interval '30 seconds'", text)
    if "%(" not in text:
        text = re.sub(r"(?<!:):(\w+)", r"%(\1)s", text.replace("%", "%%"))
    with psycopg.connect(here.database_url) as connection:
        lines = [row[0] for row in connection.execute("explain (costs off) " + text, values)]
        connection.rollback()
    return [line.strip() for line in lines if " on " in line and ("Scan" in line)]
