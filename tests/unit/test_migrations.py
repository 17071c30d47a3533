from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

import workbench
from workbench.core.database import Database, DatabaseNewer, DatabaseOutdated, head, migrations
from workbench.maintenance import rows as canonical
from workbench.maintenance.archive import snapshot
from workbench.migrations.tables import METADATA

#: Dies by SIGKILL in the middle of the third migration.
DYING = """
import os, signal, sys
from sqlalchemy import event
from workbench.core.database import Database
database = Database(sys.argv[1])
armed = False
def look(connection, cursor, statement, parameters, *rest):
    global armed
    if armed and statement.lstrip().startswith(("ALTER", "CREATE")):
        cursor.execute(statement)
        os.kill(os.getpid(), signal.SIGKILL)
    armed = armed or ("alembic_version" in statement and "0002" in f"{statement}{parameters}")
event.listen(database.engine, "before_cursor_execute", look)
database.upgrade()
"""
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


def revisions() -> list[str]:
    script = ScriptDirectory.from_config(migrations())
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def rows(database: Database, columns: dict[str, set[str]]) -> dict[str, list[dict[str, object]]]:
    """Return every table's rows, of the columns that are asked for."""
    with snapshot(database) as connection:
        found = {}
        for shape in canonical.shapes(connection):
            names = [column.name for column in shape.columns]
            wanted = columns.get(shape.name, set())
            read = [dict(zip(names, row, strict=True)) for row in canonical.read(connection, shape)]
            found[shape.name] = [{name: row[name] for name in sorted(wanted)} for row in read]
    return {name: found[name] for name in columns}


def columns_of(database: Database) -> dict[str, set[str]]:
    with snapshot(database) as connection:
        return {shape.name: {column.name for column in shape.columns} for shape in canonical.shapes(connection)}


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_rows_of_every_revision_come_through_the_upgrade(revision: str, empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade(revision)
    hostile.fill(database, 60)
    columns = columns_of(database)
    before = rows(database, columns)
    for later in revisions()[revisions().index(revision) + 1 :]:
        database.upgrade(later)
    assert rows(database, columns) == before
    assert drift(database) == []
    database.close()


def test_an_upgrade_that_is_killed_leaves_a_whole_revision(empty_database_url: str) -> None:
    """The process dies inside its third migration; what is there is the second, and the next run goes on from it."""
    database = Database(empty_database_url)
    ended = subprocess.run([sys.executable, "-c", DYING, empty_database_url])
    assert (ended.returncode, database.revision()) == (-signal.SIGKILL, "0002")
    database.upgrade()
    assert drift(database) == []
    database.close()


def test_a_revision_that_is_not_known_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    try:
        with pytest.raises(DatabaseNewer, match="newer workbench"):
            database.prepare()
    finally:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{head()}'")


def test_an_older_postgresql_database_waits_for_its_operator(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade("0003")
    if database.dialect == "sqlite":
        database.prepare()
        assert database.revision() == head()
    else:
        with pytest.raises(DatabaseOutdated, match="workbench db upgrade"):
            database.prepare()
        assert database.revision() == "0003"
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
