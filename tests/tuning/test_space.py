"""What a search varies, from recipes and from --vary."""

import pytest

from cign.methods import METHODS, default_recipe
from cign.tuning.axes import Range, parse_axis
from cign.tuning.space import make_space
from cign.utils.options import Recipe, read_recipe
from refusals import input_error


def test_a_recipe_names_bases_and_axes():
    space = make_space("lwf")
    assert space.axes["base"] == ("linear", "transformer")
    assert space.axes["form"] == ("sigmoid", "softmax")
    assert 1e-3 in space.axes["training.learning_rate"]
    point = {name: axis[0] for name, axis in space.axes.items()}
    point |= {"base": "transformer", "training.learning_rate": 2.5e-4}
    options = space.options(point)
    assert (options["trunk"], options["width"]) == ("transformer", 192)
    assert options["training"]["learning_rate"] == 2.5e-4  # an axis overrides its base


@pytest.mark.parametrize("name", [name for name in METHODS if default_recipe(name).tuning])
def test_every_recipe_with_a_section_tuning_has_a_valid_point(name):
    tuning = default_recipe(name).tuning
    if not tuning.get("axes") and not tuning.get("bases"):
        with input_error("missing-option", f"recipe of {name}", "--vary"):
            make_space(name)
        return
    space = make_space(name)
    point = {axis: values[0] for axis, values in space.axes.items()}
    assert space.options(point)
    assert next(space.points())


def test_the_grid_holds_what_the_method_accepts():
    """The weight of the soft-max form has no effect in the other one, which has one point."""
    fixed = ("training.learning_rate=0.001", "training.weight_decay=0.0", "temperature=2.0")
    space = make_space("lwf", fixed=(*fixed, "trunk=linear"), vary=("base=linear",))
    points = list(space.points())
    assert len(points) == 7
    weights = [one["distillation_weight"] for one in points if one["form"] == "sigmoid"]
    assert weights == [1.0]


def test_fixed_options_are_not_varied_and_hold_in_all_points():
    space = make_space("lwf", fixed=("form=sigmoid", "training.num_epochs=3"))
    assert "form" not in space.axes
    assert space.axes["distillation_weight"] == (1.0,)  # the others have no effect beside it
    point = {name: axis[0] for name, axis in space.axes.items()}
    assert space.options(point)["training"]["num_epochs"] == 3


def test_bases_that_fixed_options_rule_out_are_left_out():
    space = make_space("finetune", fixed=("trunk=linear",))
    assert "base" not in space.axes
    assert space.started_with == "linear"
    with input_error("unknown-name", "trunk is 'round'"):
        make_space("finetune", fixed=("trunk=round",))


def test_a_recipe_without_axes_is_varied_by_hand():
    space = make_space("analytic", vary=["width=10,20", "ridge=[1.0]"])
    assert [one["width"] for one in space.points()] == [10, 20]
    with input_error("missing-option", "--vary"):
        make_space("finetune", Recipe(method="finetune"))


def test_what_a_recipe_cannot_vary_is_refused(tmp_path):
    with input_error("unknown-name", "unknown base under tuning 'lineer'", "transformer"):
        make_space("lwf", Recipe(method="lwf", tuning={"bases": ["lineer"]}))
    for given in ("round", "1..2"):
        with input_error("unknown-name", "unknown base", "use one of linear, transformer"):
            make_space("lwf", vary=[f"base={given}"])
    recipe = tmp_path / "own.yaml"
    for tuning, said in (
        ("axes: {temperature: 2.0}", "temperature under tuning is 2.0: give a list"),
        ("bases: linear", "bases under tuning is 'linear': give a list"),
        ("axes: [temperature]", "axes under tuning must be a mapping"),
    ):
        recipe.write_text(f"method: lwf\ntuning: {{{tuning}}}\n")
        with input_error("wrong-format", said):
            read_recipe(recipe)


def test_axes_as_text(tmp_path):
    assert parse_axis("a.b=1,2.5,1e-4") == ("a.b", (1, 2.5, 1e-4))
    assert parse_axis("trunk=linear,transformer,null") == ("trunk", ("linear", "transformer", None))
    assert parse_axis("rate=1e-5..1e-2:log") == ("rate", Range(low=1e-5, high=1e-2, log=True))
    assert parse_axis("decay=0..1") == ("decay", Range(low=0.0, high=1.0))
    for text in ("rate", "rate=", "=1", "rate=2..1", "rate=1..2:lin", "rate=a..b", "rate=1..inf"):
        with input_error("bad-value", "use NAME=V1,V2, NAME=LOW..HIGH or NAME=LOW..HIGH:log"):
            parse_axis(text)
    with input_error("bad-value", "must begin above 0"):
        parse_axis("rate=0..1:log")
    types = {"size": "integer"}
    assert parse_axis("size=0.4..1.6", types) == ("size", Range(low=0, high=2, whole=True))
    with input_error("bad-value", "size=0.4..64:log", "must begin at 1 or more"):
        parse_axis("size=0.4..64:log", types)
    with input_error("bad-value", "training.batch_size=0.4..64:log"):
        make_space("finetune", vary=["training.batch_size=0.4..64:log"])
    with input_error("bad-value", "names a value twice"):
        parse_axis("rate=1,1")
    with input_error("conflicting-options", "--sampler grid needs a list of values for width"):
        next(make_space("analytic", vary=["width=10..20"]).points())
    (tmp_path / "own.yaml").write_text(
        "method: er\noptions: {trunk: transformer}\ntuning: {axes: {depth: [1, 2]}}\n"
    )
    recipe = read_recipe(tmp_path / "own.yaml")
    assert make_space("er", recipe).axes == {"depth": (1, 2)}
