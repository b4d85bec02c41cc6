"""Files made of Jinja templates, which are rendered on the controller."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from pathlib import Path

import jinja2

from ansible_like.operations import File
from ansible_like.play import PlayRefused
from ansible_like.problems import Problem


def template(
    path: str,
    source: Path,
    variables: Mapping[str, object],
    *,
    mode: int = 0o644,
    owner: str = "root",
    group: str = "root",
    secret: bool = False,
) -> File:
    """The File that ``source`` makes with these variables; it may include what lies beside it.

    Raises PlayRefused with the template's file and line when it is wrong or names what isn't given.
    """
    content = render(_beside(source.resolve().parent), source.name, variables)
    return File(path, content, mode, owner, group, secret)


def environment(folder: Path) -> jinja2.Environment:
    """For the templates of a folder: an unset name is an error, and a block takes up no line of its own."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - configuration and shell, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(templates: jinja2.Environment, name: str, variables: Mapping[str, object]) -> str:
    """The text of one of the templates. Raises PlayRefused as ``template`` does."""
    try:
        return templates.get_template(name).render(variables)
    except Exception as error:  # noqa: BLE001 - an expression of the template may raise anything
        raise PlayRefused([_problem(templates, name, error)]) from None


_beside = functools.cache(environment)


def _problem(templates: jinja2.Environment, name: str, error: Exception) -> Problem:
    folder = getattr(templates.loader, "searchpath")[0]  # noqa: B009 - not every loader has one, but ours does
    file, line = f"{folder}/{name}", 0
    # of the calls that led to the error the last one that stands in a template
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(f"{folder}/"):
            file, line = frame.filename, frame.lineno or 0
    if isinstance(error, jinja2.TemplateSyntaxError):
        file, line = error.filename or file, error.lineno
    where = f"template {file}, line {line}" if line else f"template {file}"
    if isinstance(error, jinja2.TemplateNotFound):
        return Problem(where, f"there is no template {error.name}", "Correct its name, or write it.")
    if isinstance(error, jinja2.UndefinedError):
        return Problem(where, str(error.message), "Give it among the variables, or correct its name.")
    # what other errors say may hold a value that is secret
    what = error.message if isinstance(error, jinja2.TemplateSyntaxError) else type(error).__name__
    return Problem(where, str(what), "Correct the template.")
