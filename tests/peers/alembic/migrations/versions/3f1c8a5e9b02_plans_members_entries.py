"""plans, members and the entries of their accounts

Revision ID: 3f1c8a5e9b02
Revises:
Create Date: 2025-01-14 09:12:41.502113
"""

import sqlalchemy as sa
from alembic import op

revision = "3f1c8a5e9b02"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    plans = op.create_table(
        "plans",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("fee", sa.Numeric(8, 2), nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("plan_id", sa.Integer, sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("joined_on", sa.Date, nullable=False, server_default=sa.func.current_date()),
    )
    # No unique key on purpose: an entry booked twice stays to be seen.
    op.create_table(
        "entries",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("plan_id", sa.Integer, sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.bulk_insert(
        plans,
        [
            {"id": 1, "name": "child", "fee": 0},
            {"id": 2, "name": "adult", "fee": "24.50"},
            {"id": 3, "name": "family", "fee": "39.90"},
        ],
    )


def downgrade():
    op.drop_table("entries")
    op.drop_table("members")
    op.drop_table("plans")
