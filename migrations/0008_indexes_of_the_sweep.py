"""The sweep at each sign-in finds what is over by an index, and reads nothing of those who are signed in, nor of the
addresses whose window is open."""


def up(migrator, db):
    for column in ("step_at", "created_at", "last_seen_at"):
        db.execute_sql(f'DROP INDEX "session_{column}"')
        db.execute_sql(f'CREATE INDEX "session_step_{column}" ON "session" ("step", "{column}")')
    db.execute_sql('DROP INDEX "throttle_account"')
    db.execute_sql('CREATE INDEX "throttle_account_paused_until" ON "throttle" ("account", "paused_until")')
