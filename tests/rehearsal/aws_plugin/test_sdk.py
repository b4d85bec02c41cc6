"""The table's names against those of the SDK that programs are written with."""

import importlib
import inspect
import re
from typing import Any

import pytest

from rehearsal.aws_plugin import VERSION
from rehearsal.aws_plugin.resource import Function, Resource
from rehearsal.aws_plugin.schema import Kind, Prop, Props
from rehearsal.aws_plugin.tables import FUNCTIONS, RESOURCES

# the SDK warns of its own old types when it is looked through
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def module_of(token: str) -> Any:
    """The SDK's module of ``aws:ec2/launchTemplate:LaunchTemplate``."""
    package, _, member = token.removeprefix("aws:").partition("/")
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", member.partition(":")[0]).lower()
    return importlib.import_module(f"pulumi_aws.{package}.{snake}")


def wire_names(class_: Any) -> dict[str, str]:
    """Name in Pulumi → text of the type, of an SDK's class of properties."""
    properties = {name: it.fget for name, it in vars(class_).items() if isinstance(it, property)}
    return {
        getattr(get, "_pulumi_name", name): str(get.__annotations__["return"])
        for name, get in properties.items()
    }


def args_class(module: Any, name: str) -> Any:
    # The encryption's class is spread over two, as it also takes its one rule by itself.
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def nested_class(package: Any, annotation: str) -> Any:
    found = re.search(r"\w+Args", annotation)
    assert found, annotation
    return getattr(package, found[0])


def unknown_names(props: Props, class_: Any, package: Any, path: str = "") -> list[str]:
    known = wire_names(class_)
    unknown = [f"{path}{name}" for name in props if name not in known]
    for name, prop in props.items():
        inner: Prop = prop.of or prop
        if inner.kind is Kind.OBJECT and name in known:
            class_of_inner = nested_class(package, known[name])
            unknown += unknown_names(inner.fields, class_of_inner, package, f"{path}{name}.")
    return unknown


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.token)
def test_every_property_is_the_sdks(resource: Resource) -> None:
    module = module_of(resource.token)
    package = importlib.import_module(module.__name__.rpartition(".")[0])
    name = resource.token.rpartition(":")[2]
    assert resource.token in inspect.getsource(getattr(module, name))
    assert unknown_names(resource.properties, args_class(module, name), package) == []
    state = wire_names(getattr(module, f"_{name}State"))
    assert [output for output in resource.outputs if output not in state] == []
    assert not resource.takes_tags or "tagsAll" in state


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.token)
def test_what_the_sdk_requires_is_required(resource: Resource) -> None:
    module, name = module_of(resource.token), resource.token.rpartition(":")[2]
    signature = inspect.signature(args_class(module, name).__init__)
    required = {
        parameter.name
        for parameter in list(signature.parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty
    }
    snake = {name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in resource.properties}
    ours = {snake[name] for name, prop in resource.properties.items() if prop.required}
    assert required <= ours


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.token)
def test_every_argument_is_the_sdks(function: Function) -> None:
    name = function.token.rpartition(":")[2]
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    package = function.token.removeprefix("aws:").partition("/")[0].replace("index", "")
    module = importlib.import_module(".".join(filter(None, ["pulumi_aws", package, snake])))
    source = inspect.getsource(getattr(module, snake))
    assert f"'{function.token}'" in source
    assert set(function.arguments) <= set(re.findall(r"__args__\['(\w+)'\]", source))


def test_the_table_follows_the_installed_sdk() -> None:
    assert importlib.metadata.version("pulumi-aws") == VERSION
