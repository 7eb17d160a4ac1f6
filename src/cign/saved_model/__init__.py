"""The model folder: schema, construction, files, versions, hub, model card."""
