"""Runs on a node: vLLM's own parser over argument lists (JSON in), what it says to each (JSON out)."""

import argparse
import contextlib
import io
import json
import sys

from vllm.entrypoints.cli.serve import ServeSubcommand  # type: ignore[import-not-found]
from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

parser = FlexibleArgumentParser()
ServeSubcommand().subparser_init(parser.add_subparsers(dest="subparser"))
errors = []
for arguments in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            parser.parse_args(["serve", *arguments])
            errors.append("")
        except (SystemExit, ValueError, argparse.ArgumentError) as refused:
            errors.append(said.getvalue()[-400:] or str(refused))
sys.stdout.write(json.dumps(errors))
