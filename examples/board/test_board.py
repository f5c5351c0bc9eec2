import pytest

from testing import signed_in

from . import create_app
from .board import Notice


@pytest.fixture
def app(tmp_path):
    app = create_app({"TESTING": True, "DATABASE_URL": f"sqlite:///{tmp_path}/people.db"}, tmp_path / "notices.db")
    app.test_cli_runner().invoke(args=["db", "upgrade"])
    yield app
    app.extensions["store"].database.close_all()


def test_the_board_is_closed_and_the_page_about_it_open(app):
    assert app.test_client().get("/board/").location.startswith("/login?")
    assert app.test_client().get("/board/about").status_code == 200


def test_a_notice_is_pinned_by_whoever_is_signed_in(app):
    maya = signed_in(app, "maya@example.com")
    notice = {"title": "Tea", "text": "There is <new> tea.", "csrf_token": maya.csrf}
    page = maya.post("/board/new", data=notice, follow_redirects=True).text
    assert "There is &lt;new&gt; tea." in page
    assert "maya@example.com" in page
    assert maya.post("/board/new", data={**notice, "title": ""}).status_code == 422
    assert Notice.select().count() == 1


def test_only_editors_tidy_up(app):
    notice = Notice.create(title="Tea", text="There is new tea.", author="maya@example.com")
    maya, ines = signed_in(app, "maya@example.com"), signed_in(app, "ines@example.com", groups=["editors"])
    for client, status in ((maya, 403), (ines, 303)):
        answer = client.post(f"/board/{notice.id}/remove", data={"csrf_token": client.csrf})
        assert answer.status_code == status
    assert ines.get("/board/tidy").status_code == 200
    assert Notice.select().count() == 0
