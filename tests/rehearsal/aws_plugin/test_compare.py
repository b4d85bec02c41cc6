"""What counts as a change, for any values of any type."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.aws_plugin.compare import How, differences, observed_inputs
from rehearsal.aws_plugin.schema import (
    Kind,
    Prop,
    Props,
    coerced,
    flag,
    from_wire,
    mapping,
    misfits,
    number,
    obj,
    objects,
    policy,
    policy_meaning,
    text,
    texts,
    to_wire,
)
from rehearsal.aws_plugin.tables import RESOURCES
from rehearsal.aws_plugin.values import UNKNOWN, from_struct, to_struct

WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=4)


def values_of(prop: Prop) -> st.SearchStrategy[Any]:
    """Values that a program could give the property."""
    simple: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.TEXT: WORDS,
        Kind.NUMBER: st.integers(0, 99),
        Kind.FLAG: st.booleans(),
        Kind.FLAG_TEXT: st.sampled_from(["true", "false"]),
        Kind.MAP: st.dictionaries(WORDS, WORDS, max_size=2),
    }
    if prop.kind is Kind.OBJECT:
        return inputs_of(prop.fields)
    if prop.of is not None:
        return st.lists(values_of(prop.of), max_size=2)
    return simple[prop.kind]


def inputs_of(props: Props) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: values_of(prop) for name, prop in props.items()})


@given(st.data())
def test_equal_inputs_never_differ(data: st.DataObject) -> None:
    props = RESOURCES[data.draw(st.sampled_from(sorted(RESOURCES)))].properties
    inputs = data.draw(inputs_of(props))
    assert differences(props, inputs, inputs) == []
    assert differences(props, inputs, from_struct(to_struct(inputs))) == []


@given(st.data())
def test_a_state_that_holds_the_inputs_gives_back_the_inputs(data: st.DataObject) -> None:
    props = RESOURCES[data.draw(st.sampled_from(sorted(RESOURCES)))].properties
    inputs = data.draw(inputs_of(props))
    assert observed_inputs(props, inputs, inputs) == inputs


@given(st.data())
def test_refreshed_inputs_describe_whatever_state_was_found(data: st.DataObject) -> None:
    props = {
        name: prop
        for name, prop in RESOURCES[data.draw(st.sampled_from(sorted(RESOURCES)))].properties.items()
        if not prop.local and not prop.computed and prop.kind not in (Kind.OBJECT, Kind.LIST)
    }
    inputs, state = data.draw(inputs_of(props)), data.draw(inputs_of(props))
    seen = observed_inputs(props, inputs, state)
    assert differences(props, state, seen) == []


@given(st.data())
def test_the_wire_brings_back_what_it_took(data: st.DataObject) -> None:
    props = RESOURCES["aws:ec2/launchTemplate:LaunchTemplate"].properties
    inputs = data.draw(inputs_of({name: prop for name, prop in props.items() if not prop.local}))
    assert differences(props, from_wire(props, to_wire(props, inputs)), inputs) == []


PROPS = {
    "fixed": text(replace=True),
    "free": text(),
    "chosen": text(computed=True),
    "on": flag(default=True),
    "many": texts(),
    "nested": obj({"size": number(), "kind": text(computed=True)}),
    "rows": objects({"size": number()}),
    "tags": mapping(),
    "document": policy(),
}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"free": "a"}, [("free", How.ADD, False)]),
        ({"free": "a"}, {}, [("free", How.DELETE, False)]),
        ({"free": "a"}, {"free": "b"}, [("free", How.UPDATE, False)]),
        ({"fixed": "a"}, {"fixed": "b"}, [("fixed", How.UPDATE, True)]),
        ({"free": ""}, {}, []),
        ({"chosen": "a"}, {}, []),
        ({"chosen": "a"}, {"chosen": "b"}, [("chosen", How.UPDATE, False)]),
        ({"on": True}, {}, []),
        ({"on": False}, {}, [("on", How.UPDATE, False)]),
        ({"many": ["a", "b"]}, {"many": ["b", "a"]}, []),
        ({"many": ["a", "b"]}, {"many": ["a", UNKNOWN]}, [("many", How.UPDATE, False)]),
        ({"nested": {"size": 1, "kind": "gp3"}}, {"nested": {"size": 1}}, []),
        ({"nested": {"size": 1}}, {"nested": {"size": 2}}, [("nested.size", How.UPDATE, False)]),
        ({"rows": [{"size": 1}]}, {"rows": [{"size": 1}, {"size": 2}]}, [("rows[1]", How.ADD, False)]),
        ({"rows": [{"size": 1}]}, {"rows": [{"size": UNKNOWN}]}, [("rows[0].size", How.UPDATE, False)]),
        (
            {"tags": {"a": "1"}},
            {"tags": {"b": "1"}},
            [("tags.a", How.DELETE, False), ("tags.b", How.ADD, False)],
        ),
        ({"tags": {"a:b": "1"}}, {"tags": {"a:b": "2"}}, [('tags["a:b"]', How.UPDATE, False)]),
        ({"document": '{"Action": ["a"]}'}, {"document": '{ "Action":"a" }'}, []),
        ({"document": '{"Action": "a"}'}, {"document": '{"Action":"b"}'}, [("document", How.UPDATE, False)]),
    ],
)
def test_what_is_a_change(
    old: dict[str, Any], new: dict[str, Any], expected: list[tuple[str, How, bool]]
) -> None:
    assert [(one.path, one.how, one.replace) for one in differences(PROPS, old, new)] == expected


def test_misfits_name_the_property_and_say_what_is_wrong() -> None:
    props = {"size": number(required=True), "rows": objects({"kind": text()}), "name": text()}
    given_ = {"rows": [{"kind": "a"}, {"kinds": "b"}], "name": ["a"], "colour": "red"}
    assert dict(misfits(props, given_)) == {
        "rows[1].kinds": "the rehearsal's aws stand-in does not serve this property (it serves: kind)",
        "name": "must be a string, not ['a']",
        "colour": "the rehearsal's aws stand-in does not serve this property (it serves: name, rows, size)",
        "size": "is required",
    }


def test_values_are_brought_to_the_kind_of_their_property() -> None:
    props = RESOURCES["aws:ec2/launchTemplate:LaunchTemplate"].properties
    row = {"ebs": {"encrypted": True, "volumeSize": "8"}}
    given_ = {"blockDeviceMappings": [row], "updateDefaultVersion": "true", "ebsOptimized": False}
    assert coerced(props, given_) == {
        "blockDeviceMappings": [{"ebs": {"encrypted": "true", "volumeSize": 8}}],
        "updateDefaultVersion": True,
        "ebsOptimized": "false",
    }


def test_text_that_is_no_policy_stays_text() -> None:
    assert policy_meaning("no json") == "no json"
