"""Machine learning backend of Label Studio: predictions for tasks, and learning from annotations.

The package `label-studio-ml` is not needed: its protocol is JSON over HTTP, see `routes`.
"""
