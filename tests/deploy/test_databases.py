"""The scripts that make the passwords and, from them, the databases."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.deploy.files import ORTHANC, ROOT
from tests.servers.postgres import OWNER, PostgresCluster, postgres_cluster
from tests.servers.process import program


def make_secrets(folder: Path) -> None:
    subprocess.run(["sh", ORTHANC / "make_secrets.sh", folder], check=True, capture_output=True)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    make_secrets(tmp_path / "secrets")
    return tmp_path / "secrets"


@pytest.mark.servers
def test_every_secret_of_the_compose_file_is_made(secrets: Path) -> None:
    source = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for one in source["secrets"].values():
        assert (secrets / Path(one["file"]).name).stat().st_size > 0


@pytest.mark.servers
def test_passwords_differ_and_strangers_cannot_enter_their_folder(secrets: Path) -> None:
    found = {path.name: path.read_text() for path in secrets.glob("*.txt")}
    assert found.pop("segqa_proxy_token.txt").strip() == ""  # no proxy signs anybody in until somebody says so
    passwords = list(found.values())
    assert len(set(passwords)) == len(passwords) == 6
    assert min(len(password.strip()) for password in passwords) == 48
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}


@pytest.mark.servers
def test_passwords_that_are_there_stay(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    make_secrets(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


@pytest.mark.servers
def test_orthanc_gets_the_same_passwords(secrets: Path) -> None:
    made = json.loads((secrets / "orthanc.json").read_text())
    assert made["RegisteredUsers"]["segqa"] == (secrets / "segqa_archive_password.txt").read_text().strip()
    assert made["PostgreSQL"]["Password"] == (secrets / "orthanc_database_password.txt").read_text().strip()


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    """A server whose first user is `postgres`, as in the image, and that lets only that one in without a password."""
    with postgres_cluster() as server:
        server.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        with psycopg.connect(server.url().replace("+psycopg", "").replace(OWNER, "postgres"), autocommit=True) as first:
            first.execute(f"ALTER ROLE {OWNER} RENAME TO admin")
            row = first.execute("SHOW hba_file").fetchone()
            assert row is not None
            rule = "host all {} 127.0.0.1/32 {}\n"
            Path(row[0]).write_text(rule.format("postgres", "trust") + rule.format("all", "scram-sha-256"))
            first.execute("SELECT pg_reload_conf()")
        yield server


@pytest.mark.servers
def test_two_databases_that_do_not_see_each_other(cluster: PostgresCluster, secrets: Path, tmp_path: Path) -> None:
    program("psql")
    for path in secrets.glob("*.txt"):  # the names that the container sees
        (tmp_path / path.stem).write_text(path.read_text())
    subprocess.run(
        ["sh", ORTHANC / "databases.sh"],
        check=True,
        env={
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(cluster.port),
            "POSTGRES_USER": "postgres",
            "SECRETS_DIR": str(tmp_path),
        },
    )
    passwords = {
        name: (tmp_path / f"{name}_password").read_text().strip() for name in ("segqa_ledger", "orthanc_database")
    }

    def connect(user: str, database: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host="127.0.0.1", port=cluster.port, user=user, dbname=database, password=password)

    for user, password in (("segqa", passwords["segqa_ledger"]), ("orthanc", passwords["orthanc_database"])):
        with connect(user, user, password) as connection:
            connection.execute("CREATE TABLE mine (number integer)")
        with pytest.raises(psycopg.OperationalError):
            connect(user, user, "wrong")
    with pytest.raises(psycopg.OperationalError):
        connect("segqa", "orthanc", passwords["segqa_ledger"])
