"""The benchmark suite, installed as `pyagent.benchmarks`: `pyagent bench` runs it, README.md here says how to read it.

Everything imports its neighbours relatively, since pytest also collects this folder from a checkout.
"""
