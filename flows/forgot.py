"""A forgotten password: asked for by anybody, at an equal price; and a link by mail for those whom mail alone does not
let in, since a second factor follows. The link is used as an invitation is, in flows/people.py."""

from authn import tokens
from authn.events import EventKind
from authn.links import LinkPurpose
from authn.throttle import FORGOTTEN
from flows import throttle
from flows.audit import record
from flows.passwords import drop_forgotten_links
from flows.transactions import Context, locked
from models import Invitation, User


def ask(email: str, context: Context) -> None:
    """Count that a link was asked for at this folded address, whether or not somebody has it. Nothing is looked up, and
    nothing is sent yet. Raise Paused when none may be asked for."""
    with throttle.charged(FORGOTTEN, email, context):
        pass  # nothing is compared, so that nothing is refunded


def issue(email: str, context: Context) -> str | None:
    """Return the token of a link with which whoever has this address chooses a new password. Links that they asked for
    earlier stop working, and those of admins do not. Return None for everybody else: nobody, somebody deactivated, and
    people without a password or a second factor, whom a link would let set both."""
    user = User.find(email)
    if user is None:
        record(EventKind.LINK_ASKED, context, detail="nobody is here")
        return None
    with locked(context, user):
        user = User.get_by_id(user.id)
        if not (user.is_active and user.password_hash and user.authenticator()):
            record(EventKind.LINK_ASKED, context, user, "not sent")
            return None
        drop_forgotten_links(user)
        token, purpose = tokens.generate(), LinkPurpose.FORGOT
        expires_at = context.now + purpose.seconds
        Invitation.create(user=user, token_digest=tokens.digest(token), expires_at=expires_at, purpose=purpose)
        record(EventKind.LINK_ASKED, context, user)
        return token


def note_mail(email: str, sent: bool, context: Context) -> None:
    """Record whether the mail server took the mail with this person's link."""
    record(EventKind.LINK_MAILED if sent else EventKind.LINK_NOT_MAILED, context, User.find(email))
