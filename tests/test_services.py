"""The servers that tests use are real ones, and what can befall them can be had."""

from pathlib import Path

import psycopg
import pytest
import redis

from tests import services
from tests.services import PostgresServer, RedisServer


def test_a_redis_forgets_everything_when_it_is_killed(redis_server: RedisServer) -> None:
    redis_server.call("SET", "key", "1")
    redis_server.restart()
    assert redis_server.call("EXISTS", "key") == 0


def test_a_paused_redis_does_not_answer_until_it_is_resumed(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url, socket_timeout=0.1, retry=None) as client:
        assert client.ping()
        redis_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
    redis_server.resume()
    assert redis_server.answers()


def test_a_full_redis_refuses_to_write(redis_server: RedisServer) -> None:
    redis_server.fill()
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        redis_server.call("SET", "key", "1")


def test_each_test_finds_its_redis_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "1")


@pytest.mark.parametrize("_again", range(2))
def test_each_module_has_a_database_of_its_own(postgres_url: str, _again: int) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (at int)")
        assert connection.info.dbname.startswith("hub_")


def test_a_killed_postgresql_recovers_what_was_committed(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(services.SUPERUSER)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (at int)")
    postgres_server.restart()
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE kept")


def test_a_paused_postgresql_does_not_answer(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(services.SUPERUSER)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT 1")
        postgres_server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2)
        postgres_server.resume()
        connection.execute("SELECT 1")


def test_a_missing_server_skips_unless_servers_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(services.REQUIRED_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="install a-wheel"):
        services.missing("a server", "HUB_TEST_X_URL", "a-wheel")
    monkeypatch.setenv(services.REQUIRED_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match="set HUB_TEST_X_URL"):
        services.missing("a server", "HUB_TEST_X_URL", "a-wheel")


def test_binaries_that_only_root_can_reach_are_copied(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    if services.os.geteuid() != 0:
        assert postgres_server._reachable(tmp_path) == tmp_path
        return
    package = tmp_path / "package"
    (package / "pginstall" / "bin").mkdir(parents=True)
    (package / "pginstall" / "bin" / "postgres").touch()
    tmp_path.chmod(0o700)
    copied = postgres_server._reachable(package / "pginstall" / "bin")
    assert copied.is_relative_to(postgres_server.folder)
    assert (copied / "postgres").exists()
