"""Triton kernels, installed as `pyagent.kernels`.

A module here holds the Triton version of one op of `pyagent.ops`, under the same name. The package itself imports
without Triton, so that looking for a kernel never fails where Triton is missing.
"""
