"""How gunicorn serves the app. Options on its command line win over these."""

import os
import sys

from flask.cli import load_dotenv
from flask.helpers import get_load_dotenv

if get_load_dotenv():
    load_dotenv()  # the settings in .env, as the flask commands read them

wsgi_app = "app:create_app()"
# Loaded before the workers are forked, which then have it in common: a change takes a restart, a HUP is not enough.
preload_app = "--reload" not in [*sys.argv, *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
workers = 2
threads = 16  # more than the sign-ins that may wait for a password's hash: see authn/passwords.py
limit_request_line = 8190  # the longest path of another site, on its way through the sign-in
loglevel = "warning"
forwarder_headers = ""  # a SCRIPT_NAME that the browser sends would otherwise move every link
control_socket_disable = True  # nobody speaks to it
