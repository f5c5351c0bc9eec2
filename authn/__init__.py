"""The rules of signing in, pure: arguments in, answer out. No Flask, no Peewee, no clock of their own."""
