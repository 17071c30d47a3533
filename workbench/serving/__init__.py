"""Deployments: engines that answer with a model version, behind one gateway."""
