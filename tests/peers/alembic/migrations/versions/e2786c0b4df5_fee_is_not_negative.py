"""a fee is not negative; the old column goes

Revision ID: e2786c0b4df5
Revises: 15ad07e2fb39
Create Date: 2025-03-21 11:55:02.648310
"""

import sqlalchemy as sa
from alembic import op

revision = "e2786c0b4df5"
down_revision = "15ad07e2fb39"
branch_labels = None
depends_on = None


def upgrade():
    op.create_check_constraint("plans_fee_cents_not_negative", "plans", "fee_cents >= 0")
    op.drop_column("plans", "fee")


def downgrade():
    op.add_column("plans", sa.Column("fee", sa.Numeric(8, 2)))
    op.execute("UPDATE plans SET fee = fee_cents / 100.0")
    op.alter_column("plans", "fee", nullable=False)
    op.drop_constraint("plans_fee_cents_not_negative", "plans")
