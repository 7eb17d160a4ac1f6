"""Export a model to one file for deployment, ONNX or torch.export, verified before writing."""
