"""Roles: each turns a NodeSpec into operations and touches nothing itself."""
