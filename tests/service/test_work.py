"""annidx.service.work: places are bounded, and freed when the work ends, not when a client goes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from annidx import Index
from annidx.service.work import Busy, Pool, TooMany
from tests.service.serving import problem, serving, until


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        pool = Pool(1, 0)
        assert await pool.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 7, 0)
        assert await pool.run(divmod, 9, 2) == (4, 1)
        pool.close()

    asyncio.run(main())


def test_there_is_place_for_those_who_work_and_those_who_wait() -> None:
    async def main() -> None:
        pool, go_on = Pool(2, 3, TooMany), threading.Event()
        working = [asyncio.ensure_future(pool.run(go_on.wait, 60)) for _ in range(5)]
        await asyncio.sleep(0)
        assert pool.taken == 5
        with pytest.raises(TooMany, match="all 5 places"):
            await pool.run(go_on.wait, 60)
        assert pool.refused == 1
        go_on.set()
        assert await asyncio.gather(*working) == [True] * 5
        assert pool.taken == 0
        pool.close()

    asyncio.run(main())


def test_who_gives_up_frees_no_place_until_the_work_has_ended() -> None:
    async def main() -> None:
        pool, begun, go_on = Pool(1, 1), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go_on.wait(60)

        working = asyncio.ensure_future(pool.run(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(pool.run(work))
        await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert pool.taken == 2
        with pytest.raises(Busy):
            await pool.run(work)
        waiting.cancel()  # it had not begun: its place is free at once
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.taken == 1
        go_on.set()
        while pool.taken:
            await asyncio.sleep(0.001)
        pool.close()

    asyncio.run(main())


def test_a_full_service_says_when_to_come_back(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    search = Index.query_many

    def slowly(self: Index, *arguments: object, **options: object) -> object:
        go_on.wait(60)
        return search(self, *arguments, **options)  # type: ignore[arg-type]

    with serving(index, workers=1, waiting=1) as served:
        monkeypatch.setattr(Index, "query_many", slowly)
        answers = []

        def ask() -> None:
            answers.append(served.post("/v1/query", json={"id": 1, "metric": "thumb"}).status_code)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        until(lambda: served.service.pool.taken == 2)
        answer = served.post("/v1/query", json={"id": 1, "metric": "thumb"})
        problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert served.get("/livez").status_code == 200
        assert 'annidx_rejected_total{pool="work"} 1' in served.get("/metrics").text
        go_on.set()
        for thread in asking:
            thread.join()
        assert answers == [200, 200]
        assert served.post("/v1/query", json={"id": 1, "metric": "thumb"}).status_code == 200
