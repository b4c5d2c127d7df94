"""Actors: the processes of one node, thin shells around the cores in ``protocol``."""
