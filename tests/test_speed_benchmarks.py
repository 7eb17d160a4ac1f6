"""The scripts that measure speed: they compare what they say, and their pages are honest."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "speed")]

import gpu  # noqa: E402
import part  # noqa: E402
import run  # noqa: E402
import scale  # noqa: E402
import step  # noqa: E402
from release import ReleaseNetwork  # noqa: E402


def linear(inputs, outputs):
    return inputs * outputs + outputs


def test_the_release_network_has_every_block():
    """Its weights counted by hand from the table of its parts."""
    d, c, norm = 512, 36, 2 * 512
    attention = 4 * linear(d, d)
    mlp = linear(d, 4 * d) + linear(4 * d, d)
    block = attention + mlp + 2 * norm
    mixing = linear(c, 256) + linear(256, c)
    grouping = mixing + attention + 2 * mlp + 4 * linear(d, d) + 6 * norm
    modality = linear(d, d) + 3 * block + grouping + linear(d, 1)
    # 11.18 million weights of ResNet-18 without its classifier (He et al. 2016), 64 x 49 for each
    # channel of its first layer.
    encoders = 2 * 11_176_512 - 2 * 64 * 49
    network = ReleaseNetwork(c)
    tokens = c * d + linear(d, c)
    assert sum(p.numel() for p in network.parameters()) == encoders + 2 * modality + tokens


def test_a_step_of_the_release_reaches_every_weight():
    torch.manual_seed(0)
    network = ReleaseNetwork(5).train()
    torch.nn.init.normal_(network.tokens)  # from zero some weights get their gradient later
    heard, seen = network(torch.randn(2, 1, 64, 64), torch.randn(2, 3, 64, 64))
    assert heard.shape == seen.shape == (2, 5)
    network.loss_of(heard, seen, torch.tensor([0, 4])).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_default_layout_is_the_same_network():
    method = step.cign_method(3, bf16=False).eval()
    batch = step.clips(2, 3, method.network.encoder.backbone)
    with torch.inference_mode():
        before = method.predict(batch.audio, batch.visual).probabilities["audio_visual"]
        plain = step.default_layout(method)
        after = plain.predict(batch.audio, batch.visual).probabilities["audio_visual"]
    weight = plain.network.encoder.backbone.visual.encoder.stages[1].layers[0].layer[0]
    assert weight.convolution.weight.is_contiguous()
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("bounds", "ratio", "holds"),
    [
        ({}, 1.0, None),
        ({"at_least": 3.0}, 3.0, True),
        ({"at_least": 3.0}, 2.99, False),
        ({"at_most": 1.15}, 1.15, True),
        ({"at_most": 1.15}, 1.16, False),
    ],
)
def test_bounds(bounds, ratio, holds):
    assert part.Row(what="x", ratio=ratio, **bounds).holds is holds


def test_rounds_take_turns():
    order = []
    timed = part.take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3  # the first measures memory
    assert len(timed["a"].seconds) == len(timed["b"].seconds) == 2


def test_peak_memory_is_seen_and_forgotten():
    before = part.forget_peak()
    big = torch.ones(25_000_000)
    assert part.peak_mb() > before + 90
    del big
    assert part.forget_peak() < before + 50


CLEAN = {"version": "1.0", "commit": "a" * 40, "dirty": False}


def result(tmp_path, monkeypatch, *words, calls, code=CLEAN):
    def measure(options):
        calls.append(options.size)
        return part.Found(rows=[part.Row(what="this by that", ratio=2.0, at_least=3.0)])

    monkeypatch.setattr(part, "current_code", lambda: code)
    monkeypatch.setattr(sys, "argv", ["x", "--json", str(tmp_path / "x.json"), *words])
    part.part(
        "A part",
        measure,
        script=str(BENCHMARKS / "speed" / "start.py"),
        options={"size": (7, "size")},
    )


def test_a_part_is_kept_until_its_code_or_options_change(tmp_path, monkeypatch, capsys):
    calls = []
    result(tmp_path, monkeypatch, calls=calls)
    result(tmp_path, monkeypatch, calls=calls)
    assert calls == [7]
    result(tmp_path, monkeypatch, "--size", "8", calls=calls)
    result(tmp_path, monkeypatch, "--size", "8", "--again", calls=calls)
    assert calls == [7, 8, 8]
    other = CLEAN | {"commit": "b" * 40}
    result(tmp_path, monkeypatch, "--size", "8", calls=calls, code=other)
    assert calls == [7, 8, 8, 8]
    for _ in range(2):  # uncommitted changes are not known to be the same
        result(tmp_path, monkeypatch, "--size", "8", calls=calls, code=other | {"dirty": True})
    assert calls == [7, 8, 8, 8, 8, 8]
    assert "| this by that | 2 | >= 3 | MISSED |" in capsys.readouterr().out


def test_the_page_says_what_is_missing(tmp_path, monkeypatch):
    calls = []
    result(tmp_path, monkeypatch, calls=calls)
    text = run.page({"start": part.read_json(tmp_path / "x.json", "part")})
    assert "Not measured yet: step, cached" in text
    assert "start" not in text.split("Not measured yet")[1].split("\n")[0]
    assert "## A part" in text
    assert "Measured at commit aaaaaaaaaa: start." in text
    assert all((BENCHMARKS / "speed" / f"{name}.py").is_file() for name in run.PARTS)


def test_without_a_gpu_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--page", str(tmp_path / "gpu.md")])
    gpu.main()
    told = capsys.readouterr().out.strip()
    assert "no GPU" in told
    assert told.count(".") == 1
    assert not (tmp_path / "gpu.md").exists()


def test_operations_of_the_closed_form_by_hand():
    """Features of all vectors, sums of outer products and of labels, for both modalities."""
    learn = gpu.closed_form(8, 36, "cpu")
    width, single = 1500, 12

    def operations(num_vectors: int, dim: int, num_rows: dict[str, int]) -> int:
        # The lower half, in blocks of 500 columns.
        half = sum(500 * (width - begin) for begin in range(0, width, 500))
        features = 2 * 8 * num_vectors * dim * width
        gram = 2 * 2 * 8 * sum(num_rows.values()) * half
        whole = 2 * 8 * num_vectors * width
        means = 2 * 2 * 8 * sum(num_rows.values()) * width
        labels = 2 * 2 * 8 * width * 36 * len(num_rows)
        return features + gram + whole + means + labels

    # Three views of tokens: two pairs of contrast and saliency, and signed roots.
    tokens = operations(81 + 49, 512, {"whole": 1, "single": single})
    assert gpu.flops(learn) == 3 * tokens


def test_the_largest_batch_is_found_by_doubling(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def build(size):
        def work():
            if size > 100:
                raise torch.OutOfMemoryError("full")

        return work

    assert gpu.largest_batch(build, 16) == 64
    assert gpu.largest_batch(build, 128) == 0


def test_simulated_clips_are_the_same_in_any_batch():
    source = scale.Simulated(5)
    audio, visual = source.read([3, 8, 11])
    again, _ = source.read([8])
    assert torch.equal(audio[1], again[0])
    assert not torch.equal(audio[0], audio[1])  # of one class
    assert audio.nbytes // 3 + visual.nbytes // 3 == source.bytes_per_clip


def test_the_scale_page_counts_what_was_done(tmp_path, monkeypatch):
    options = argparse.Namespace(clips=80, classes=4, tasks=2, work=tmp_path)
    small = {**dict(scale.builtin_recipe("cign_analytic").options), "width": 50}
    monkeypatch.setattr(scale, "builtin_recipe", lambda name: argparse.Namespace(options=small))
    monkeypatch.setattr(scale, "SPREAD", 1.0)
    source = scale.Simulated(4)
    loop = scale.make_loop(options, source)
    loop.stop_after = 1
    diary = scale.Diary(tmp_path / "diary.json")
    diary.watch(loop, source)
    loop.run()
    loop.save()
    assert len(diary.tasks) == 0
    second = scale.make_loop(options, source)
    second.resume()
    diary.watch(second, source)
    second.run()
    assert [task["classes"] for task in diary.tasks] == [2, 4]
    assert sum(task["clips"] for task in diary.tasks) == 76
    found = scale.accuracies(second.predictions)
    assert set(found.values()) == {100.0}
    text = scale.page(options, diary, found, second.method.state_bytes)
    assert "on 76 simulated clips of 4 classes in 2 tasks" in text
    assert "--clips 80 --classes 4 --tasks 2" in text


def test_each_part_starts_as_a_program_of_its_own():
    begun = [
        subprocess.Popen(
            [sys.executable, str(BENCHMARKS / "speed" / f"{name}.py"), "--help"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in run.PARTS
    ]
    for one in begun:
        _, error = one.communicate()
        assert one.returncode == 0, error.decode()
