"""A stand-in for pulumi-resource-aws: the types and functions that ``infra/`` uses, over boto3."""

VERSION = "7.51.1"
"""The pulumi-aws whose names and behaviour the stand-in follows; the SDK in the lock file is the same."""
