"""Challengers of other methods, and images that are found by their pixels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
WITH_RECIPE = ("jobs", "versions")


def upgrade() -> None:
    """Add what a training is made of, and the digest of an image's pixels."""
    for table in WITH_RECIPE:
        op.add_column(table, sa.Column("recipe", sa.JSON))
    op.add_column("blobs", sa.Column("digest", sa.String(32)))
    op.create_index("ix_blobs_digest", "blobs", ["digest"])


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_blobs_digest", "blobs")
    op.drop_column("blobs", "digest")
    for table in WITH_RECIPE:
        op.drop_column(table, "recipe")
