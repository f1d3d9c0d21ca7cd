"""Migrations, versions of the schema, and trouble with the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from segqa_dicom.errors import ConfigurationError, PeerRefused, PeerUnavailable
from segqa_dicom.ledger import Ledger, database
from segqa_dicom.ledger.tables import METADATA, REVISIONS, VERSION_TABLE
from tests.ledger.factories import NOW, opened
from tests.servers.postgres import PostgresCluster
from tests.servers.process import free_port


def execute(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_expects(ledger: Ledger, ledger_url: str) -> None:
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    engine.dispose()


def test_the_code_knows_all_migrations_in_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_migrating_again_changes_nothing(ledger: Ledger, ledger_url: str) -> None:
    case = opened(ledger)
    ledger.migrate()
    with Ledger(ledger_url) as other:
        other.migrate()
        assert other.case(case.case_id) == case


def test_a_ledger_without_tables_says_what_makes_them(ledger_url: str, tmp_path: Path) -> None:
    with Ledger(ledger_url) as ledger, pytest.raises(ConfigurationError, match=r"segqa serve.*segqa reconcile"):
        ledger.cases()
    assert list(tmp_path.iterdir()) == []


def test_an_older_ledger_is_not_used_before_it_is_migrated(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "REVISIONS", (*REVISIONS, "next"))
    with Ledger(ledger_url) as other, pytest.raises(ConfigurationError, match=r"older version.*segqa reconcile"):
        other.touch("1.1", None, arrived_at=NOW, check_at=NOW)


def test_a_newer_ledger_is_left_alone(ledger: Ledger, ledger_url: str) -> None:
    execute(ledger_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with Ledger(ledger_url) as other:
        for use in (other.migrate, other.cases):
            with pytest.raises(ConfigurationError, match=r"newer version of segqa.*update segqa"):
                use()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://segqa:secret@host/name",
        "nonsense+psycopg://segqa:secret@host/name",
        "postgresql://segqa:secret@host:port/name",
        "postgresql//segqa:secret@host",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL of") as caught:
        Ledger(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "password"),
    [
        pytest.param("postgresql://segqa:secret@127.0.0.1:{port}/x", "", id="in the URL"),
        pytest.param("postgresql+psycopg://segqa@127.0.0.1:{port}/x", "secret", id="apart"),
    ],
)
def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told(url: str, password: str) -> None:
    with Ledger(url.format(port=free_port()), password=password) as ledger:
        for use in (ledger.migrate, ledger.cases):
            with pytest.raises(PeerUnavailable, match=r"ledger postgresql.* is not available") as caught:
                use()
            assert "secret" not in str(caught.value)
            assert "secret" not in repr(caught.value.__cause__)


@pytest.mark.servers
def test_connections_that_the_server_has_ended_are_made_anew(postgres: PostgresCluster) -> None:
    with postgres.database() as url, Ledger(url) as ledger:
        ledger.migrate()
        case = opened(ledger)
        name = url.rpartition("/")[2]
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert ledger.case(case.case_id) == case


@pytest.mark.servers
def test_a_database_that_does_not_exist_is_unavailable(postgres: PostgresCluster) -> None:
    with Ledger(postgres.url("absent")) as ledger, pytest.raises(PeerUnavailable, match="does not exist"):
        ledger.migrate()


def test_a_file_that_is_no_database_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"something else " * 1000)
    with Ledger(f"sqlite:///{path}") as ledger:
        for use in (ledger.cases, ledger.migrate):
            with pytest.raises(PeerRefused, match="not a database"):
                use()
    assert path.read_bytes() == b"something else " * 1000


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite") as ledger, pytest.raises(ConfigurationError):
        ledger.migrate()


def test_a_ledger_in_a_new_folder_outlives_its_connections(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/a/b/ledger.sqlite") as ledger:
        ledger.migrate()
        case = opened(ledger)
        ledger.close()
        assert ledger.case(case.case_id) == case


def test_sqlite_waits_for_the_disk_and_readers_do_not_wait_for_writers(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        ledger.migrate()
        with ledger._writing() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
            assert ledger.cases() == []


def test_an_error_in_the_middle_changes_nothing(ledger: Ledger) -> None:
    def fail_after_writing() -> None:
        with ledger._writing() as connection:
            connection.execute(text("INSERT INTO cursors VALUES ('a', 'b')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    assert ledger.cursor("a") == ""
