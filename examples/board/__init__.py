"""The sign-in with a notice board behind it."""

from pathlib import Path

from app import create_app as create_sign_in

from .board import bp, open_notices


def create_app(config=None, notices=None):
    ours = {"HOME": "/board/", "TEMPLATES": Path(__file__).parent / "pages"}
    app = create_sign_in({**ours, **(config or {})})
    app.register_blueprint(bp)
    open_notices(notices or Path(app.instance_path) / "notices.db")
    return app
