from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

import workbench
from workbench.core.database import Database
from workbench.migrations.tables import METADATA

IDENTIFIER_LENGTH = 63  # bytes to which PostgreSQL cuts a longer name


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(workbench.__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


def drift(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, METADATA))


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_the_migrations_make_the_tables_that_the_code_declares(database: Database) -> None:
    assert drift(database) == []
    assert tables(database) == {*METADATA.tables, "alembic_version"}


def test_the_migrations_lead_down_and_up_again(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade()
    with database.engine.connect() as connection:
        command.downgrade(config(connection), "base")
    assert tables(database) == {"alembic_version"}
    database.upgrade()
    assert drift(database) == []
    database.close()


def test_there_is_one_line_of_migrations(database: Database) -> None:
    with database.engine.connect() as connection:
        command.check(config(connection))


def test_no_name_is_too_long_for_postgresql(database: Database) -> None:
    inspector = inspect(database.engine)
    for table in tables(database):
        parts = [*inspector.get_columns(table), *inspector.get_indexes(table), inspector.get_pk_constraint(table)]
        parts += [*inspector.get_unique_constraints(table), *inspector.get_foreign_keys(table)]
        names = [table, *(str(part["name"]) for part in parts)]
        assert [name for name in names if len(name.encode()) >= IDENTIFIER_LENGTH] == []
