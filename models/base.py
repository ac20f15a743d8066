"""The declarative base: one schema, names for every constraint, aware UTC timestamps."""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Identity, Interval, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import Uuid

SCHEMA = "evergrant"

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table of ours; all of them live in the schema `evergrant`."""

    metadata: ClassVar[MetaData] = MetaData(schema=SCHEMA, naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        bytes: LargeBinary,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        timedelta: Interval,
        UUID: Uuid,
        dict[str, Any]: JSONB,
        dict[str, list[str]]: JSONB,
        list[int]: ARRAY(BigInteger),
        list[str]: ARRAY(Text),
        list[UUID]: ARRAY(Uuid),
    }


def identity() -> Mapped[int]:
    """Make a `bigint` key that the database numbers."""
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)
