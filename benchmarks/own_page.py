"""The site, with a page of one's own behind it."""

from flask import Flask

import app


def create_app() -> Flask:
    site = app.create_app()
    site.add_url_rule("/ok", "ok", lambda: "ok")
    return site
