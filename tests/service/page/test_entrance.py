"""Who gets in: the link works once; other sites, stolen links and forms without a token do not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.service.page.browsing import Review, reviewing
from tests.service.serving import problem, until


@pytest.fixture
def review(hostile: Path) -> Iterator[Review]:
    with reviewing(hostile) as served:
        yield served


def client(review: Review) -> httpx.Client:
    """Return one that shows no token."""
    return httpx.Client(base_url=review.base, trust_env=False, timeout=60)


@contextlib.contextmanager
def entered(review: Review) -> Iterator[httpx.Client]:
    """Open one that has used the link."""
    with client(review) as own:
        answer = own.get(review.session.link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/review")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "samesite=strict" in answer.headers["set-cookie"].lower()
        until(lambda: "cards" in own.get("/review").text)
        yield own


def test_nothing_is_shown_without_the_cookie(review: Review) -> None:
    with client(review) as stranger:
        for path in ("/", "/review", "/review/plan", "/review/picture/1", "/v1/images/1"):
            assert stranger.get(path).status_code == 401, path
        stranger.cookies.set(review.session.cookie, "guess")
        assert stranger.get("/review").status_code == 401


def test_a_browser_is_told_what_to_do_and_a_program_gets_a_problem(review: Review) -> None:
    with client(review) as stranger:
        for path in ("/review", "/review/group/1", "/v1/images/1"):
            answer = stranger.get(path, headers={"accept": "text/html,*/*;q=0.8"})
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "script-src 'self'" in answer.headers["content-security-policy"]
            assert "annidx review" in answer.text
            assert review.session.link not in answer.text
            problem(stranger.get(path, headers={"accept": "application/json"}), 401)
            problem(stranger.get(path), 401)
        page = {"accept": "text/html"}
        assert stranger.head("/review", headers=page).text == ""
        assert stranger.post("/review/decide", headers=page).status_code == 401
        assert "not logged in" in stranger.post("/review/decide", headers=page).text
        assert stranger.get("/review/static/page.css").status_code == 200
        assert stranger.get("/review/static/../plan").status_code == 401
        assert stranger.get("/review/static/page.js").status_code == 401
        assert stranger.get("/review/login", headers=page).status_code == 403
    with entered(review) as own:
        assert own.get("/review/group/999999", headers=page).status_code == 404


def test_the_refusal_fits_a_phone(browser: Browser, review: Review) -> None:
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    page.on("console", lambda each: review.complaints.append(each.text))
    page.goto(review.base + "/review")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.querySelector('.bar')).display") == "flex"
    told = [each for each in review.complaints if "401" not in each]
    assert told == []


def test_a_stolen_link_is_refused(review: Review) -> None:
    link = review.session.link
    with entered(review), client(review) as thief:
        assert review.session.link == ""
        answer = thief.get(link)
        assert answer.status_code == 403
        assert "used before" in answer.text
        assert "set-cookie" not in answer.headers
        assert thief.get("/review").status_code == 401
        assert thief.get("/review/login").status_code == 403


def test_a_wrong_token_does_not_use_the_link_up(review: Review) -> None:
    with client(review) as guest:
        assert guest.get("/review/login?token=%C3%BC").status_code == 403
        assert guest.get("/review/login?token=x").status_code == 403
    with entered(review):
        pass


def test_forms_need_a_token_and_an_origin(review: Review) -> None:
    with entered(review) as own:
        fields = {"form": review.session.form}
        good = own.post("/review/plan", data=fields)
        assert good.status_code == 303
        assert own.post("/review/plan", data={}).status_code == 403
        assert own.post("/review/plan", data={"form": "x"}).status_code == 403
        for headers in (
            {"origin": "https://elsewhere.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
        ):
            assert own.post("/review/plan", data=fields, headers=headers).status_code == 403


def test_a_plan_is_applied_with_its_digest_only(review: Review) -> None:
    with entered(review) as own:
        fields = {"form": review.session.form, "identical": "1"}
        place = own.post("/review/plan", data=fields).headers["location"]
        plan = place.rpartition("/")[2]
        for digest in ("", "0" * 64):
            told = {**fields, "plan": plan, "digest": digest}
            answer = own.post("/review/apply", data=told)
            assert answer.status_code != 303
            assert "digest" in answer.text
        assert "Move " in own.get(place).text, "nothing was done"


def test_nothing_from_elsewhere(review: Review) -> None:
    with entered(review) as own:
        answer = own.get("/review")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http:" not in answer.text.replace("http-equiv", "")
        assert "https:" not in answer.text
        assert " style=" not in answer.text
        assert " on" not in [part[:3] for part in answer.text.split("<")]


def test_another_site_gets_nothing(browser: Browser, review: Review) -> None:
    context = browser.new_context()
    page = review.enter(context)
    cookie = context.cookies()[0]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    site = context.new_page()
    form = f'<form method=post action="{review.base}/review/plan"><button>x</button></form>'
    image = f'<img src="{review.base}/review/picture/1">'
    site.route(
        "https://evil.example/",
        lambda each: each.fulfill(body=form + image, content_type="text/html"),
    )
    statuses = []
    site.on("response", lambda each: statuses.append((each.url, each.status)))
    site.goto("https://evil.example/")
    site.click("button")
    site.wait_for_load_state()
    told = {status for url, status in statuses if url.startswith(review.base)}
    assert told <= {401, 403}
    page.reload()
    assert page.locator(".card").count() > 0


def test_views_and_filters_of_the_overview(review: Review) -> None:
    with entered(review) as own:
        for query in ("view=bursts", "view=similar"):
            until(lambda query=query: "figures" in own.get(f"/review?{query}").text)  # type: ignore[misc]
            text = own.get(f"/review?{query}").text
            assert "could be freed" not in text
            assert "Nothing is suggested here" in text or "nothing is suggested here" in text
        assert "could be freed" in own.get("/review").text
        assert own.get("/review?kind=identical&format=JPEG").text.count('class="card"') > 0
        for query in ("kind=edited", "since=2020-01-01", "state=decided", "folder=/nowhere"):
            assert "No group fits this filter" in own.get(f"/review?{query}").text, query
        odd = "view=x&cutoff=nan&sort=%00&page=-1&since=1&kind=%3Cb%3E&folder=%FF"
        assert own.get(f"/review?{odd}").status_code == 200
        assert own.get("/review/group/999999").status_code == 404
        assert own.get("/review/picture/1?side=7").status_code == 422
