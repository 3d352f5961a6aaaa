"""The benchmark suite, installed as `pyagent.benchmarks`: `pyagent bench` runs it, its README.md says how to read it.

Everything imports its neighbours relatively, since pytest also collects this folder from a checkout.
"""
