"""Attacks, by the letters of the red-team list: each test tries what an attacker would and sees it refused."""
