"""annidx.service.gathering: what waits is asked together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from annidx.errors import PictureNotFound
from annidx.service.gathering import MOST, Gathered
from annidx.service.work import Busy, Pool
from tests.service.serving import Served, problem, serving

Function = Callable[[Sequence[int]], list[int]]


@contextmanager
def gathering(workers: int, waiting: int) -> Iterator[tuple[Pool, Gathered[int, int]]]:
    pool = Pool(workers, waiting)
    try:
        yield pool, Gathered(pool)
    finally:
        pool.close()


class Slow:
    """Doubles numbers, once it may."""

    def __init__(self) -> None:
        self.may, self.batches = threading.Event(), list[list[int]]()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.may.wait(30)
        if 13 in items:
            message = "there is no picture 13"
            raise PictureNotFound(message)
        return [2 * item for item in items]


async def begun(slow: Slow, count: int) -> None:
    while len(slow.batches) < count:
        await asyncio.sleep(0.001)


def test_what_waits_is_asked_in_one_pass_up_to_a_limit() -> None:
    async def ask() -> list[int]:
        tasks = [asyncio.ensure_future(gathered.run("a", slow, 1))]
        await begun(slow, 1)
        tasks += [asyncio.ensure_future(gathered.run("a", slow, each)) for each in range(2, 12)]
        await asyncio.sleep(0)
        assert pool.taken == 11
        slow.may.set()
        return list(await asyncio.gather(*tasks))

    slow = Slow()
    with gathering(1, 20) as (pool, gathered):
        assert asyncio.run(ask()) == [2 * each for each in range(1, 12)]
    assert slow.batches == [[1], list(range(2, 2 + MOST)), [10, 11]]
    assert pool.taken == 0


def test_what_differs_is_asked_apart() -> None:
    async def ask() -> list[int]:
        tasks = [asyncio.ensure_future(gathered.run("a", slow, 1))]
        await begun(slow, 1)
        tasks += [asyncio.ensure_future(gathered.run(key, slow, 2)) for key in "aba"]
        await asyncio.sleep(0)
        slow.may.set()
        return list(await asyncio.gather(*tasks))

    slow = Slow()
    with gathering(1, 20) as (_, gathered):
        assert asyncio.run(ask()) == [2, 4, 4, 4]
    assert sorted(slow.batches) == [[1], [2], [2, 2]]


def test_one_that_fails_fails_alone_and_frees_its_place() -> None:
    async def ask() -> list[int | BaseException]:
        tasks = [asyncio.ensure_future(gathered.run("a", slow, 1))]
        await begun(slow, 1)
        tasks += [asyncio.ensure_future(gathered.run("a", slow, each)) for each in (12, 13, 14)]
        await asyncio.sleep(0)
        slow.may.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    slow = Slow()
    with gathering(1, 20) as (pool, gathered):
        one, two, three, four = asyncio.run(ask())
    assert (one, two, four) == (2, 24, 28)
    assert isinstance(three, PictureNotFound)
    assert pool.taken == 0


def test_there_is_no_more_room_than_places_and_leaving_frees_one() -> None:
    async def ask() -> None:
        first = asyncio.ensure_future(gathered.run("a", slow, 1))
        await begun(slow, 1)
        second = asyncio.ensure_future(gathered.run("a", slow, 2))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await gathered.run("a", slow, 3)
        second.cancel()
        slow.may.set()
        assert await first == 2
        assert await gathered.run("a", slow, 4) == 8

    slow = Slow()
    with gathering(1, 1) as (pool, gathered):
        asyncio.run(ask())
    assert slow.batches == [[1], [4]]
    assert (pool.taken, pool.refused) == (0, 1)


def test_answers_are_those_of_each_alone(served: Served) -> None:
    """Many clients ask at once, of what is there and of what is not."""
    numbers = [*served.service.holder.of().index.picture_ids().tolist(), 999_999]

    def asked(number: int) -> list[int]:
        answer = roomy.post("/v1/query", json={"id": number, "metric": "thumb", "cutoff": 1e4})
        if number == 999_999:
            problem(answer, 404)
            return []
        return [match["image_id"] for match in answer.json()["matches"]]

    with serving(served.service.holder.of().place, waiting=100) as roomy:
        alone = {number: asked(number) for number in numbers}
        found: list[tuple[int, list[int]]] = []
        threads = [
            threading.Thread(target=lambda each=each: found.append((each, asked(each))))
            for each in numbers * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(found) == 3 * len(numbers)
    assert all(alone[number] == near for number, near in found)
    assert any(alone.values())
