"""The exported file says what the model says on 50 clips where only onnxruntime runs it."""

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.export.checking import NUM_RENDERED, rendered_clips
from cign.export.predictor import OUTPUTS
from cign.inference.predict import predict_batch
from cign.learner import Learner
from cign.vocabulary import MODALITIES

from .test_script import alone

for name in ("onnxruntime", "onnxscript"):
    pytest.importorskip(name, reason="needs the extra export")

SCRIPT = """
import sys

import numpy as np
import onnxruntime

assert not {"cign", "torch"} & set(sys.modules)
clips = np.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
asked = [given.name for given in session.get_inputs()]
one = lambda i: session.run(None, {n: clips[n][i : i + 1] for n in asked})
said = [one(i) for i in range(len(clips["frames"]))]
np.savez(sys.argv[3], **{n: np.concatenate(parts) for n, parts in zip(names, zip(*said))})
try:
    import cign
except ImportError as error:
    print(error)
"""


def waveform(clip):
    """Samples as the file takes them, -1..1."""
    return clip.audio.astype(np.float32) / 32768


@pytest.mark.slow
def test_fifty_clips_by_onnxruntime_alone(tiny, tmp_path):
    torch.set_num_threads(1)
    prepare(tiny[0], tmp_path / "store", backbone=load_backbone("small"), num_workers=0)
    learner = Learner("cign_analytic").learn(tmp_path / "store", tasks=2, out=tmp_path / "run")
    exported = learner.export(tmp_path / "out")
    clips = rendered_clips(learner.model.spec)
    assert len(clips) == NUM_RENDERED == 50
    np.savez(
        tmp_path / "clips.npz",
        waveform=np.stack([waveform(clip) for clip in clips]),
        frames=np.stack([clip.frames for clip in clips]),
    )
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = ("script.py", "out/predictor.onnx", "clips.npz", "said.npz")
    printed = alone([tmp_path / one for one in arguments], tmp_path)
    assert printed == ["this must run without it"]

    said = np.load(tmp_path / "said.npz")
    assert set(said) == set(OUTPUTS)
    read = predict_batch(learner.model, load_backbone("small"), clips)
    for modality in MODALITIES:
        assert said[modality].shape == (50, len(learner.model.classes))
        np.testing.assert_allclose(said[modality], read.probabilities[modality], rtol=0, atol=1e-4)
        np.testing.assert_allclose(
            said[f"unknown_{modality}"], read.unknown[modality], rtol=0, atol=1e-4
        )
        assert np.ptp(said[modality], axis=0).max() > 0.1  # clips are told apart
    assert exported.files["predictor.onnx"] > 1_000_000
