"""What happens, each act one transaction: the only package that writes.

A flow returns None when it is done, else a Refusal that says why not. A flow that makes something new returns that.
What a caller must not ignore is raised: Paused, TooBusy, CodesAreOff, Superseded. A session that went on carries its
new token.
"""
