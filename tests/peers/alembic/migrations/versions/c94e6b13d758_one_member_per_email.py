"""one member per email address, whatever the case of its letters

Revision ID: c94e6b13d758
Revises: 8b70d2f4c6a1
Create Date: 2025-02-03 17:02:55.730021
"""

import sqlalchemy as sa
from alembic import op

revision = "c94e6b13d758"
down_revision = "8b70d2f4c6a1"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("members_email", "members", [sa.text("lower(email)")], unique=True)


def downgrade():
    op.drop_index("members_email", "members")
