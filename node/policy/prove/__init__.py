"""Proofs about rulebooks, for every situation there can be.

The model (`model`) is built with z3 from the rulebook as it was read. It shares neither code nor tables with the
evaluator that decides in service, so that each can show the other's mistakes.
"""
