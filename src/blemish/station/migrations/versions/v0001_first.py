"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SHA, ID = sa.String(64), sa.String(32)


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "blobs",
        sa.Column("sha", SHA, primary_key=True),
        sa.Column("media_type", sa.String(40), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_table(
        "parts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(60), nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("method", sa.String(60), nullable=False),
        sa.Column("preset", sa.String(60)),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("roi", SHA),
        sa.Column("false_alarms", sa.Double, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("champion", ID),
    )
    _learning()
    _inspecting()


def _part() -> sa.Column[int]:
    return sa.Column("part_id", sa.Integer, sa.ForeignKey("parts.id"), nullable=False)


def _learning() -> None:
    op.create_table(
        "part_images",
        sa.Column("id", sa.Integer, primary_key=True),
        _part(),
        sa.Column("sha", SHA, nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_index("ix_part_images_part_id", "part_images", ["part_id"])
    op.create_index("part_images_once", "part_images", ["part_id", "sha"], unique=True)
    op.create_table(
        "versions",
        sa.Column("id", ID, primary_key=True),
        _part(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("job_id", sa.Integer),
        sa.Column("figures", sa.JSON, nullable=False),
    )
    op.create_index("ix_versions_part_id", "versions", ["part_id"])
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer, primary_key=True),
        _part(),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("previous", ID),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_index("ix_promotions_part_id", "promotions", ["part_id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        _part(),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("stage", sa.String(60), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("seconds_left", sa.Double),
        sa.Column("message", sa.String(2000), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("started", sa.DateTime),
        sa.Column("finished", sa.DateTime),
    )
    op.create_index("ix_jobs_part_id", "jobs", ["part_id"])
    op.create_index("ix_jobs_state", "jobs", ["state"])


def _inspecting() -> None:
    op.create_table(
        "inspections",
        sa.Column("id", ID, primary_key=True),
        _part(),
        sa.Column("version_id", ID, sa.ForeignKey("versions.id"), nullable=False),
        sa.Column("sha", SHA, nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("p_value", sa.Double, nullable=False),
        sa.Column("defective", sa.Boolean, nullable=False),
        sa.Column("false_alarms", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("heat", SHA),
        sa.Column("mask", SHA),
        sa.Column("audited", sa.Boolean, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("verdict", sa.String(10)),
    )
    op.create_index("inspections_recent", "inspections", ["part_id", "created"])
    op.create_index("inspections_queue", "inspections", ["part_id", "verdict", "audited"])
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inspection_id", ID, sa.ForeignKey("inspections.id"), nullable=False),
        sa.Column("verdict", sa.String(10), nullable=False),
        sa.Column("defect_type", sa.String(80)),
        sa.Column("mask", SHA),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("keys", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("undone", sa.DateTime),
    )
    op.create_index("ix_reviews_inspection_id", "reviews", ["inspection_id"])


def downgrade() -> None:
    """Drop all tables, those that refer to others first."""
    for table in ("reviews", "inspections", "jobs", "promotions", "versions", "part_images"):
        op.drop_table(table)
    for table in ("parts", "blobs"):
        op.drop_table(table)
