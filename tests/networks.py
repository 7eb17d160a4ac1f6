"""Small random networks of transformers in folders, as their own code saves them."""

from __future__ import annotations

from pathlib import Path

import torch

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
PICTURES = ("vit", "dinov2", "dinov3_vit", "videomae", "resnet")
SOUNDS = ("ast", "clap", "clap_audio")
AST_FRAMES = 100  # of a filter bank: 1 s
CLAP_S = 1


def make_network(root: Path, kind: str, name: str | None = None) -> Path:
    """Save a network and its processor; the folder, named after the kind."""
    folder = root / (name or kind)
    if not folder.exists():
        torch.manual_seed(0)
        network, processor = _build(kind)
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def processor(kind: str):
    """The processor that belongs to a network."""
    return _build(kind)[1]


def _build(kind):
    import transformers as t

    small = {"height": 32, "width": 32}
    if kind == "vit":
        config = t.ViTConfig(image_size=32, patch_size=8, num_labels=3, **TINY)
        return t.ViTForImageClassification(config), t.ViTImageProcessor(size=small)
    if kind == "dinov2":
        rest = {key: value for key, value in TINY.items() if key != "intermediate_size"}
        config = t.Dinov2Config(image_size=56, patch_size=7, **rest)
        how = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
        imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        return t.Dinov2Model(config), t.BitImageProcessor(resample=3, **how, **imagenet)
    if kind == "dinov3_vit":
        config = t.DINOv3ViTConfig(image_size=32, patch_size=8, num_register_tokens=4, **TINY)
        return t.DINOv3ViTModel(config), t.ViTImageProcessor(size=small)
    if kind == "videomae":
        config = t.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, num_labels=3, **TINY)
        how = {"size": {"shortest_edge": 32}, "crop_size": small}
        return t.VideoMAEForVideoClassification(config), t.VideoMAEImageProcessor(**how)
    if kind == "resnet":
        config = t.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 8, 16, 24],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            num_labels=3,
        )
        how = {"size": {"shortest_edge": 56}, "crop_pct": 0.875}
        return t.ResNetForImageClassification(config), t.ConvNextImageProcessor(**how)
    if kind == "ast":
        config = t.ASTConfig(max_length=AST_FRAMES, num_mel_bins=64, num_labels=3, **TINY)
        how = {"num_mel_bins": 64, "max_length": AST_FRAMES, "mean": -5.081, "std": 4.4849}
        return t.ASTForAudioClassification(config), t.ASTFeatureExtractor(**how)
    audio = {
        "window_size": 4,
        "num_mel_bins": 32,
        "spec_size": 64,
        "hidden_size": 64,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "patch_embeds_hidden_size": 32,
        "num_hidden_layers": 2,
        "projection_dim": 16,
    }
    how = {"feature_size": 32, "max_length_s": CLAP_S, "hop_length": 480}
    if kind == "clap_audio":
        config = t.ClapAudioConfig(enable_fusion=True, fusion_type="aff_2d", **audio)
        return t.ClapAudioModel(config), t.ClapFeatureExtractor(truncation="fusion", **how)
    assert kind == "clap"
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "vocab_size": 100, "projection_dim": 16}
    config = t.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    return t.ClapModel(config), t.ClapFeatureExtractor(truncation="rand_trunc", **how)
