"""Recipes: locks and their kin, from leases, transactions and watches, for both clients.

The procedures are those of ``protocol.coordination``; the classes here keep their state.

    lock           one holder at a time, first come, first served
    holder         a contender of any line, which holds its turn until it releases it
    coordinator    performs the procedures, and keeps a few leases for the next holders
"""
