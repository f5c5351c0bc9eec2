"""The sentences of the pages, as tests ask for them."""

from blueprints.messages import SENTENCES

DONE: dict[str, str] = SENTENCES["done"]
NOTICES: dict[str, str] = DONE | SENTENCES["happened"]
STATUS_PAGES = {int(status): page for status, page in SENTENCES["statuses"].items() if status.isdigit()}
BUSY_PAGE = SENTENCES["statuses"]["busy"]
