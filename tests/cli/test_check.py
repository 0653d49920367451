"""``sluice check``: everything that is wrong, at once, and what a start would do about it."""

from tests.cli.shell import Shell
from tests.redis_server import RedisServer


def test_nothing_is_wrong_where_nothing_is(shell: Shell) -> None:
    checked = shell.run("check")

    assert (checked.status, checked.out) == (0, "nothing is wrong\n")


def test_all_wrong_settings_are_told_at_once(shell: Shell) -> None:
    checked = shell.run("check", SLUICE_PROT="1", SLUICE_PORT="http")

    assert checked.status == 78
    assert [line.partition(":")[0] for line in checked.out.splitlines()] == ["SLUICE_PROT", "SLUICE_PORT", "2 problems"]


def test_both_catalogue_files_are_read_whatever_is_wrong_with_the_first(shell: Shell) -> None:
    providers = shell.file("providers.toml", '[mine]\nbase_url = "ftp://nowhere"\n')
    models = shell.file("models.toml", '[m]\ncontext_window = "large"\n')

    checked = shell.run("check", SLUICE_PROVIDERS=providers, SLUICE_MODELS=models)

    assert checked.status == 78
    assert "providers.toml" in checked.out
    assert "models.toml" in checked.out


def test_spoilt_documents_in_the_store_are_found_and_keys_of_others_are_not(shell: Shell, redis: RedisServer) -> None:
    redis.command("SET", "tenant:spoilt", "{")
    redis.command("SET", "tenant:wrong", '{"user_groups": 5, "others": 1}')
    redis.command("SET", "tenant:fine", '{"others": 1}')

    checked = shell.run("check")

    assert checked.status == 1
    assert checked.out.splitlines() == [
        "tenant:spoilt: is no JSON object",
        "tenant:wrong: /user_groups should be a valid list",
        "2 problems",
    ]


def test_a_provider_in_a_tenants_place_is_found(shell: Shell, redis: RedisServer) -> None:
    redis.command("SET", "tenant:openai", "{}")

    checked = shell.run("check")

    assert checked.status == 78
    assert "registry:" in checked.out


def test_a_redis_that_does_not_answer_is_told_unless_nobody_is_asked(shell: Shell) -> None:
    away = shell.run("check", SLUICE_REDIS_URL="redis://127.0.0.1:1")
    offline = shell.run("check", "--offline", SLUICE_REDIS_URL="redis://127.0.0.1:1")

    assert (away.status, offline.status) == (75, 0)
    assert "redis" in away.out


def test_a_redis_that_may_evict_is_told(shell: Shell, redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    try:
        checked = shell.run("check")
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")

    assert checked.status == 78
    assert "noeviction" in checked.out


def test_a_file_of_tenants_is_checked_too(shell: Shell) -> None:
    file = shell.file("tenants.toml", '[acme]\ncolour = "red"\n["a b"]\n')

    checked = shell.run("check", "--offline", "--json", "-f", file)

    assert checked.status == 1
    assert [problem["what"] for problem in checked.json] == [
        "tenants.toml: acme: /colour is not known",
        "tenants.toml: a b: is no id",
    ]
