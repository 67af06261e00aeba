"""What Alembic runs first: one connection, one transaction for all pending revisions (Alembic's default)."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, make_url, pool

fileConfig(context.config.config_file_name, disable_existing_loggers=False)


def database_url():
    """DATABASE_URL, read for the driver that requirements.txt installs.

    `postgres://` is what many platforms hand out; SQLAlchemy does not know that name.
    """
    url = os.environ["DATABASE_URL"]
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    return make_url(url).set(drivername="postgresql+psycopg")


def run_offline():
    """`alembic upgrade head --sql`: print, connect nowhere."""
    context.configure(url=database_url(), literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


def run_online():
    engine = create_engine(database_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
