"""Converge Linux hosts over SSH: one agent, one channel, one answer per host.

The whole desired state of a host goes over one SSH channel to a program of standard-library Python, which
reads the facts there, does only what is missing, and streams back what it did. Nothing stays on the host but
its lock, the journal of a run that is still open and what has come of a file in it, a short history, and the
agent itself, compiled and sealed.
"""
