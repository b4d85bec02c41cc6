"""Pulumi's language host for Python, for a Pulumi CLI that was built from Go modules and came without one."""
