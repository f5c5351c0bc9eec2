"""A one-time link has a purpose. Of the old ones, that of a reset was made in the same second as the reset, which the
record has; where that has been pruned it cannot be told, and the link counts as an invitation. Both lead to the same
page and last as long."""

SECONDS = 72 * 3600


def up(migrator, db):
    db.execute_sql("""ALTER TABLE "invitation" ADD COLUMN "purpose" VARCHAR(16) NOT NULL DEFAULT 'invitation'""")
    made_at = f"event.at = invitation.expires_at - {SECONDS}"
    resets = f"SELECT 1 FROM event WHERE event.user_id = invitation.user_id AND kind = 'mfa_reset' AND {made_at}"
    db.execute_sql(f"UPDATE invitation SET purpose = 'reset' WHERE EXISTS ({resets})")
