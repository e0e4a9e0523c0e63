"""The base of all mapped classes: what their columns are, and how their constraints are named."""

import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from control_plane.core.types import Decimal12, Json, UtcDateTime


class Base(DeclarativeBase):
    """Base of all mapped classes; its metadata is the whole schema."""

    audited: ClassVar[bool] = True
    """Whether changes of its rows are recorded; not those of machinery, whose causes are."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as it is
        datetime.datetime: UtcDateTime(),
        Decimal: Decimal12(),
        dict[str, Any]: Json,
        list[str]: Json,
    }
