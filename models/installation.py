"""Which database this is: the environment's name and the identity that was adopted (one row)."""

from datetime import datetime

from sqlalchemy import SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Installation(Base):
    """The one row that says which database was adopted, and under which name."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    environment: Mapped[str]
    system_identifier: Mapped[str]
    database_name: Mapped[str]
    timeline: Mapped[str]
    adopted_at: Mapped[datetime]
    adopted_by: Mapped[str]
