import pytest

from cign.errors import InputError
from cign.methods import METHODS, method_class
from cign.methods.cign import CignOptions
from cign.utils.options import Recipe, builtin_recipe, configure, read_recipe
from refusals import input_error


def test_nested_options_keep_the_defaults_of_what_they_do_not_name():
    options = configure(CignOptions, {"training": {"batch_size": 8}, "depth": 2}, "recipe")
    assert options.depth == 2
    assert options.training.batch_size == 8
    assert options.training.min_steps == 1000  # cign's own default, not the general one
    assert options.training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dept": 2}, "unknown option 'dept': did you mean 'depth'"),
        ({"training": {"lr": 1}}, "training has an unknown option 'lr'"),
        ({"depth": "two"}, "depth is 'two': it must be of type int"),
        ({"depth": True}, "depth is True: it must be of type int"),
        ({"assignment": "firm"}, "assignment is 'firm': use one of soft, hard"),
        ({"training": 3}, "training must hold options, not 3"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(InputError, match=message):
        configure(CignOptions, values, "recipe")


def test_numbers_may_be_written_as_yaml_reads_them():
    options = configure(CignOptions, {"training": {"learning_rate": "1e-4"}, "drop_path": 0}, "x")
    assert options.training.learning_rate == 1e-4
    assert options.drop_path == 0.0
    assert isinstance(options.drop_path, float)


def test_recipe_files(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("method: cign\noptions:\n  depth: 1\nsources:\n  depth: ours\n")
    recipe = read_recipe(path)
    assert (recipe.method, recipe.options, recipe.sources) == (
        "cign",
        {"depth": 1},
        {"depth": "ours"},
    )
    for text, message in [
        ("method: cign\noption: {}\n", "unknown option 'option'"),
        ("options: {}\n", "at least 'method'"),
        ("- 1\n", "at least 'method'"),
        ("method: cign\noptions: 3\n", "options must be a mapping"),
        ("method: [\n", "cannot be read"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_recipe(path)
    with input_error("file-unreadable", "none.yaml"):
        read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", METHODS)
def test_shipped_recipes_are_valid(name):
    recipe = builtin_recipe(name)
    assert recipe.method == name
    configure(method_class(name).Options, recipe.options, name)


def test_options_with_exemplars_are_laid_over_those_without():
    options = {"training": {"learning_rate": 0.1, "batch_size": 8}, "depth": 1}
    recipe = Recipe(method="cign", options=options, with_memory={"training": {"batch_size": 4}})
    for none in (None, 0, "0", " 0 ", "0/class", "00", "0MB"):
        assert recipe.options_for(none) == options
    for some in (120, "120", "5/class", "10MB", "01"):
        expected = {"training": {"learning_rate": 0.1, "batch_size": 4}, "depth": 1}
        assert recipe.options_for(some) == expected
    assert recipe.options["training"]["batch_size"] == 8


def test_unknown_method_is_named():
    with input_error("unknown-name", "method", "'lwff'", "analytic, av_cil"):
        method_class("lwff")
