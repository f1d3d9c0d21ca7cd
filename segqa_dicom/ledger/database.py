"""The database under the ledger: connections, transactions, the version of the schema, and errors in our words.

SQLite is one file that several processes of one host share (write-ahead log, every commit synchronised); PostgreSQL is
for more hosts. Nothing outside this module catches an exception of SQLAlchemy.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import Table

from segqa_dicom.errors import ConfigurationError, PeerRefused, PeerUnavailable
from segqa_dicom.ledger.tables import REVISIONS, VERSION_TABLE

WAIT_S = 30
"""So long a transaction waits for another one."""
_LOCK_CLASS = 0x5E60A
"""First half of the keys of our advisory locks; the database may be shared with other programs."""
_MIGRATIONS = Path(__file__).with_name("migrations")
_HOW_TO_MIGRATE = "`segqa serve` and `segqa reconcile` bring it up to date when they start"


class Database:
    """A database by its URL. Threads and processes may share it; a forked child gets connections of its own.

    url : `sqlite:///PATH` or `postgresql://USER@HOST/NAME`
    password : in place of one in the URL

    Raises `ConfigurationError` for any other URL. Nothing is connected before the first use.
    """

    def __init__(self, url: str, *, password: str = "") -> None:
        self._url = _checked_url(url, password)
        self.name = self._url.render_as_string(hide_password=True)
        """The URL without its password, for messages."""
        self._is_checked = False
        self._process = os.getpid()
        self._engine = self._new_engine()
        self._inherited: list[Engine] = []

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file, not a server."""
        return self._url.get_backend_name() == "sqlite"

    def close(self) -> None:
        """End all connections; the next use makes new ones."""
        if self._process == os.getpid():
            self._engine.dispose()

    def migrate(self) -> None:
        """Make the tables, or bring them up to date. Any number of processes may call it at once.

        Raises `ConfigurationError` if the tables were made by a newer version of segqa.
        """
        with self._translated(), self._only_one_migrates(), self._begin(is_writing=True) as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_CLASS, 0)))
            revision = _revision(connection)
            if revision is not None:
                self._refuse_newer(revision)
            if revision != REVISIONS[-1]:
                _upgrade(connection)
        self._is_checked = True

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._translated():
            self._check()
            with self._begin(is_writing=False) as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that writes; on SQLite the only one at that time."""
        with self._translated():
            self._check()
            with self._begin(is_writing=True) as connection:
                yield connection

    @contextmanager
    def _begin(self, *, is_writing: bool) -> Iterator[Connection]:
        with self._own_engine().connect() as connection:
            connection.execution_options(segqa_begin="BEGIN IMMEDIATE" if is_writing else "BEGIN")
            with connection.begin():
                yield connection

    def _lock_subject(self, connection: Connection, ct_series_instance_uid: str) -> None:
        """Let only one transaction at a time change which case of a subject counts."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK_CLASS, func.hashtext(ct_series_instance_uid))))

    def _insert(self, table: Table) -> Any:
        """INSERT with ON CONFLICT, which both databases have and the common language has not."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def _add_new(self, connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
        """Insert rows that are not there yet; returns how many those were. Others stay as they are."""
        # Not by the count of rows, which PostgreSQL's driver does not tell here.
        statement = self._insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)
        return sum(connection.execute(statement.values(**row)).first() is not None for row in rows)

    def _check(self) -> None:
        """Refuse tables that this code does not know."""
        if self._is_checked:
            return
        if self.is_sqlite and not Path(str(self._url.database)).exists():
            raise ConfigurationError(f"there is no ledger {self.name}; {_HOW_TO_MIGRATE}")
        with self._begin(is_writing=False) as connection:
            revision = _revision(connection)
        if revision is None:
            raise ConfigurationError(f"ledger {self.name} has no tables; {_HOW_TO_MIGRATE}")
        self._refuse_newer(revision)
        if revision != REVISIONS[-1]:
            raise ConfigurationError(f"ledger {self.name} was made by an older version of segqa; {_HOW_TO_MIGRATE}")
        self._is_checked = True

    def _refuse_newer(self, revision: str) -> None:
        if revision not in REVISIONS:
            raise ConfigurationError(
                f"ledger {self.name} was made by a newer version of segqa (its revision is {revision}, "
                f"this one knows {REVISIONS[-1]}); update segqa on this host"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise PeerUnavailable(f"ledger {self.name} is not available: {_cause(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise PeerUnavailable(f"the connection to ledger {self.name} was lost: {_cause(error)}") from error
            raise PeerRefused(f"ledger {self.name} does not do what it should: {_cause(error)}") from error

    @contextmanager
    def _only_one_migrates(self) -> Iterator[None]:
        """On SQLite, changing to a write-ahead log needs more than the lock of a transaction."""
        if not self.is_sqlite:
            yield
            return
        path = Path(str(self._url.database))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f"{path.name}.migrating").open("ab")
        except OSError as error:
            raise ConfigurationError(f"ledger {self.name} cannot be made: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._own_engine().connect() as connection:
                connection.execution_options(segqa_begin="")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            yield

    def _own_engine(self) -> Engine:
        if self._process != os.getpid():
            # A connection must not be used, nor even closed, on both sides of a fork.
            self._inherited.append(self._engine)
            self._engine, self._process = self._new_engine(), os.getpid()
        return self._engine

    def _new_engine(self) -> Engine:
        if self.is_sqlite:
            engine = create_engine(
                self._url, hide_parameters=True, connect_args={"timeout": WAIT_S}, pool_size=5, max_overflow=-1
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        try:
            return create_engine(
                self._url,
                hide_parameters=True,
                connect_args=_postgresql_arguments(self._url),
                pool_size=5,
                max_overflow=5,
                pool_pre_ping=True,
            )
        except ImportError as error:
            raise ConfigurationError("a ledger on PostgreSQL needs: pip install 'segqa[deploy]'") from error


def _checked_url(text_of_url: str, password: str) -> URL:
    try:
        url = make_url(text_of_url)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = ""
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ConfigurationError("the URL of a ledger on SQLite names a file: sqlite:////path/of/ledger.sqlite")
        return url.set(drivername="sqlite+pysqlite")
    if backend == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        return url.set(password=password) if password else url
    # The text may hold a password, whatever it is; so it is not repeated, and the cause is cut off.
    raise ConfigurationError(
        "the URL of the ledger is not valid; it begins with sqlite:/// or postgresql:// and special characters of a "
        "password are written as %XX (or set SEGQA_LEDGER_PASSWORD)"
    )


def _postgresql_arguments(url: URL) -> dict[str, str | int]:
    """A server that is gone is noticed within the time that we wait for a lock."""
    arguments: dict[str, str | int] = {
        "connect_timeout": 10,
        "keepalives_idle": WAIT_S,
        "tcp_user_timeout": WAIT_S * 1000,
        "application_name": "segqa",
        "options": f"-c lock_timeout={WAIT_S * 1000}",
    }
    return {name: value for name, value in arguments.items() if name not in url.query}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and late; `_begin_sqlite` does it.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: who has read before writing would otherwise fail, not wait, if somebody else has written since.
    if begin := connection.get_execution_options().get("segqa_begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if revision is None else str(revision)


def _upgrade(connection: Connection) -> None:
    # Imported here: only those who migrate need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _cause(error: SQLAlchemyError) -> str:
    """What the driver says, on one line; it knows no values of ours (`hide_parameters`)."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
