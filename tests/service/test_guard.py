"""annidx.service.guard: hosts, origins, tokens, headers; each line of what keeps strangers out."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from annidx.errors import AnnidxError, UsageError
from annidx.service.guard import known_hosts
from annidx.service.settings import Settings, read_token
from tests.service.serving import QUICK, Served, problem, serving

TOKEN = "f00dfacef00dfacef00dfacef00dface"


@pytest.fixture(scope="module")
def locked(index: Path) -> Iterator[Served]:
    with serving(index, token=TOKEN, allowed_hosts=("pictures.example",)) as service:
        yield service


def test_it_listens_on_this_machine_alone_by_default() -> None:
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "pictures.example", ""])
def test_any_other_bind_is_refused_without_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="--token-file"):
        Settings(host=host)
    Settings(host=host, token=TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_a_bind_to_this_machine_needs_none(host: str) -> None:
    Settings(host=host)


def test_a_token_comes_from_a_file_that_not_everybody_can_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n")
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.chmod(0o604)
    with pytest.raises(AnnidxError, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    for text in ("", "two words that are long enough"):
        file.write_text(text)
        with pytest.raises(UsageError, match="expected one word"):
            read_token(file)
    with pytest.raises(AnnidxError, match="No such file"):
        read_token(tmp_path / "none")
    with pytest.raises(UsageError, match="16 or more"):
        Settings(token="short")


WRONG = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": b"Bearer \xff\xfe"},
    {"X-Token": TOKEN},
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
@pytest.mark.parametrize("path", ["/v1/snapshot", "/metrics", "/nothing", "/openapi.json"])
def test_without_the_token_nothing_is_told(
    locked: Served, path: str, headers: dict[str, str]
) -> None:
    answer = httpx.get(f"http://127.0.0.1:{locked.port}{path}", headers=headers)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_with_the_token_all_is_told_and_probes_need_none(locked: Served) -> None:
    assert locked.get("/v1/snapshot").status_code == 200
    lower = {"Authorization": f"bearer  {TOKEN}"}
    assert locked.get("/v1/snapshot", headers=lower).status_code == 200
    for probe in ("/livez", "/readyz"):
        assert httpx.get(f"http://127.0.0.1:{locked.port}{probe}").status_code == 200


def test_the_token_is_compared_in_constant_time(
    locked: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    right = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return right(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    locked.get("/v1/snapshot", headers={"Authorization": "Bearer wrong"})
    assert compared == [(b"wrong", TOKEN.encode())]


FOREIGN = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", ""]
FOREIGN += [
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "localhost:8000:1",
    "[::1",
    "2130706433",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_names_that_are_not_its_own_get_nothing(served: Served, host: str) -> None:
    for path in ("/livez", "/v1/snapshot", "/docs"):
        problem(served.get(path, headers={"Host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are_its_own(served: Served, host: str) -> None:
    assert served.get("/livez", headers={"Host": host}).status_code == 200


def test_a_name_can_be_added(locked: Served, served: Served) -> None:
    headers = {"Host": "pictures.example"}
    assert locked.get("/v1/snapshot", headers=headers).status_code == 200
    problem(served.get("/v1/snapshot", headers=headers), 403)


def test_the_names_of_each_bind() -> None:
    assert known_hosts(Settings(host="127.0.0.1")) == {"127.0.0.1", "localhost", "::1"}
    assert "192.0.2.7" in known_hosts(Settings(host="192.0.2.7", token=TOKEN))
    assert "localhost" not in known_hosts(Settings(host="192.0.2.7", token=TOKEN))
    assert "localhost" in known_hosts(Settings(socket=Path("/run/x")))


def test_a_bind_to_every_address_answers_to_numbers_and_not_to_names(index: Path) -> None:
    with serving(index, host="0.0.0.0", token=TOKEN, wait=False) as wide:
        where = f"http://127.0.0.1:{wide.port}/livez"
        assert httpx.get(where, headers={"Host": "192.0.2.44:8000"}).status_code == 200
        problem(httpx.get(where, headers={"Host": "evil.example"}), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_of_others_change_nothing(
    served: Served, method: str, headers: dict[str, str]
) -> None:
    for path in ("/v1/reload", "/v1/query", "/v1/images/1"):
        problem(served.client.request(method, path, headers=headers), 403)


def test_pages_of_its_own_may(served: Served) -> None:
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec-Fetch-Site": "same-origin"}
    assert served.post("/v1/reload", headers=own).status_code == 200
    assert served.post("/v1/reload").status_code == 200  # no page at all


def test_no_page_of_others_may_read_what_it_answers(served: Served) -> None:
    asking = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        served.client.options("/v1/query", headers=asking),
        served.get("/v1/snapshot", headers={"Origin": "http://evil.example"}),
    ):
        assert [name for name in answer.headers if name.startswith("access-control")] == []
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert served.client.options("/v1/query", headers=asking).status_code == 405


def test_every_answer_tells_browsers_to_run_nothing(served: Served, locked: Served) -> None:
    paths = ("/livez", "/docs", "/metrics", "/nothing", "/openapi.json")
    answers = [served.get(path) for path in paths]
    answers += [served.post("/v1/query", json={"id": 1}), served.post("/v1/query", content=b"x")]
    answers += [served.get("/livez", headers={"Host": "evil.example"})]
    answers += [httpx.get(f"http://127.0.0.1:{locked.port}/v1/snapshot")]
    assert {answer.status_code for answer in answers} == {200, 401, 403, 404, 415}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_a_socket_is_for_its_owner_and_group(index: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    with serving(index, QUICK, socket=place, wait=False) as service:
        assert stat.S_IMODE(place.stat().st_mode) == 0o660
        assert service.get("/livez").status_code == 200
        problem(service.get("/livez", headers={"Host": "evil.example"}), 403)
    # Left behind by a kill: nobody listens, so the next one takes its place.
    assert place.is_socket()
    with serving(index, QUICK, socket=place, wait=False) as service:
        assert service.get("/livez").status_code == 200
        with pytest.raises(AnnidxError, match="another process"), serving(index, socket=place):
            pass


def test_what_is_no_socket_is_not_replaced(index: Path, tmp_path: Path) -> None:
    place = tmp_path / "s"
    place.write_text("mine")
    with pytest.raises(AnnidxError, match="cannot listen on"), serving(index, socket=place):
        pass
    assert place.read_text() == "mine"
