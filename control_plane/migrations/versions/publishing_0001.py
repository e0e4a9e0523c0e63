"""Create what publishing remembers."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "publishing_0001"
down_revision = None
branch_labels = ("publishing",)
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(*names: str) -> list[sa.Column[str]]:
    return [
        sa.Column(name, sa.String(64 if name.endswith("section") else 255), primary_key=True)
        for name in names
    ]


def upgrade() -> None:
    op.create_table(
        "publishing_state",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("revision", _BIG, nullable=False),
    )
    op.create_table(
        "published_documents",
        *_key("document_id", "section"),
        sa.Column("revision", _BIG, nullable=False),
        sa.Column("document", types.Json, nullable=False),
    )
    op.create_table(
        "published_references",
        *_key("document_id", "section", "target_id", "target_section"),
        sa.ForeignKeyConstraint(
            ["document_id", "section"],
            ["published_documents.document_id", "published_documents.section"],
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_published_references_target", "published_references", ["target_id", "target_section"]
    )
    op.create_table(
        "publishing_revisions",
        sa.Column("revision", _BIG, primary_key=True, autoincrement=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", types.Json),
    )
    op.create_table(
        "publishing_refusals",
        *_key("document_id", "section"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused_at", types.UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "publishing_refusals",
        "publishing_revisions",
        "published_references",
        "published_documents",
        "publishing_state",
    ):
        op.drop_table(table)
