"""A model as one file for deployment: ONNX or torch.export, checked before it is written."""
