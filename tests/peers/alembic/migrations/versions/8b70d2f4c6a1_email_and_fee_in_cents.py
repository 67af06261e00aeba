"""a member's email, a plan's fee in cents

Revision ID: 8b70d2f4c6a1
Revises: 3f1c8a5e9b02
Create Date: 2025-02-03 16:40:08.117940
"""

import sqlalchemy as sa
from alembic import op

revision = "8b70d2f4c6a1"
down_revision = "3f1c8a5e9b02"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("members", sa.Column("email", sa.Text))
    op.add_column("plans", sa.Column("fee_cents", sa.Integer, nullable=False, server_default="0"))


def downgrade():
    op.drop_column("plans", "fee_cents")
    op.drop_column("members", "email")
