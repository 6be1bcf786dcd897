"""``annidx review``: the review page, opened in the browser."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
import threading
import time
import webbrowser

from annidx.commands.common import index_path, print_json, print_summary
from annidx.commands.serve import INTERRUPTED, port_number, run_until_ended
from annidx.showing import plural

HELP = "look at duplicates side by side in the browser, decide, clear up"
DESCRIPTION = """\
Serve a page on this machine alone and open the browser on it: groups of near-duplicates, pictures
side by side, keys for keep, remove and not a duplicate. Decisions are kept at once; files are moved
only by a plan that you confirm, and undo puts them back. The link that is printed works once.
Ctrl-C ends it."""
EPILOG = """\
examples:
  annidx review
  annidx review --no-browser --port 8001      over ssh -L 8001:127.0.0.1:8001
  annidx review --keep path:~/Photos/originals,format,resolution"""

_WAITING = 64  # a page of thumbnails comes by six connections, whoever turns pages drops them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--no-browser", action="store_true", help="print the link, and open no browser"
    )
    parser.add_argument(
        "--port", type=port_number, default=0, metavar="N", help="default 0: any free one"
    )
    parser.add_argument(
        "--keep",
        default="format,clean,resolution,size,oldest",
        metavar="RULES",
        help='which picture is suggested to be kept, as in "annidx plan --keep"',
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.review import suggest  # noqa: PLC0415 - heavy from here on
    from annidx.service.application import application  # noqa: PLC0415
    from annidx.service.holder import Holder  # noqa: PLC0415
    from annidx.service.page import routes  # noqa: PLC0415
    from annidx.service.page.session import Session  # noqa: PLC0415
    from annidx.service.server import address, listening  # noqa: PLC0415
    from annidx.service.settings import Settings  # noqa: PLC0415

    began = time.monotonic()
    rules = suggest.rules(args.keep)
    session = Session()
    # Nobody knows the token: what has no cookie of the page is refused.
    settings = Settings(port=args.port, token=secrets.token_hex(32), waiting=_WAITING)
    holder = Holder({"default": index_path(args)})
    holder.check()
    app = application(holder, settings, session.knows)
    routes.install(app, session, rules)
    bound = listening(settings)
    link = address(settings, bound) + session.link
    was_interrupted = run_until_ended(app, settings, bound, lambda: _say_where(args, link))
    requests = app.state.service.measures.requests
    fields = {"requests": requests, "seconds": round(time.monotonic() - began, 1)}
    print_summary(args, fields, f"{plural(requests, 'request')} answered")
    return INTERRUPTED if was_interrupted else 0


def _say_where(args: argparse.Namespace, link: str) -> None:
    if args.json:
        print_json({"message_type": "listening", "address": link})
    else:
        print(f"review at {link}")
    sys.stdout.flush()  # whoever started it waits for this line
    if not args.no_browser:
        # One that runs in the terminal returns when it is left.
        threading.Thread(target=_open, args=[link], daemon=True).start()


def _open(link: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):  # the link is printed
        webbrowser.open(link)
